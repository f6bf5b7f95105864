// Packets as text, for logs and tests.
#pragma once

#include <string>

#include "proto/packet.h"

namespace proto {

// One line: PUBLISH qos=1 retain id=10 topic="a/b" {content type="text/plain"} payload="hi"
// Bytes outside printable ASCII are escaped as \xNN, long values are cut. Passwords and authentication data show their
// size only.
std::string describe(const Packet& packet);

}  // namespace proto
