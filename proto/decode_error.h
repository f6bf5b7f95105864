// Short names for the two usual decode errors. Internal to proto/.
#pragma once

#include "proto/codec.h"

namespace proto {

inline DecodeError malformed(const char* what) {
  return {ReasonCode::malformed_packet, what};
}
inline DecodeError protocol_error(const char* what) {
  return {ReasonCode::protocol_error, what};
}

}  // namespace proto
