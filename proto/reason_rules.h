// Which reason codes may stand in which packet. [MQTT5 2.4] table 2-6
#pragma once

#include "proto/reason_code.h"
#include "proto/types.h"

namespace proto {

// Whether MQTT 5 defines `code` for packets of this type, whoever sends them.
bool may_stand_in(ReasonCode code, PacketType packet);

}  // namespace proto
