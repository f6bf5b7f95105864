// What two workers say to each other first on a bus connection. The one that dialled speaks first; the other answers
// only if it accepts. 40 bytes, little endian:
//
//   0 u32 magic "MQMB" · 4 u8 bus::kBusVersion · 5 three zero bytes · 8 u32 slot · 12 u32 slot of the other
//   16 u64 incarnation · 24 u64 incarnation of the other · 32 u64 position up to which the other's stream is processed
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "shared/control/messages.h"

namespace net {

// Names one worker process: the one of an incarnation in a slot.
using control::Peer;

struct Hello {
  static constexpr size_t kSize = 40;
  using Bytes = std::array<char, kSize>;

  Peer from;
  Peer to;
  uint64_t received = 0;
  bool operator==(const Hello&) const = default;
};

Hello::Bytes encode(const Hello& hello);
// nullopt: not a hello of this version.
std::optional<Hello> decode(const Hello::Bytes& bytes);

}  // namespace net
