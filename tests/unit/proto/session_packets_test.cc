// PINGREQ, PINGRESP, DISCONNECT and AUTH.
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;
using wire::check_wire;
using wire::kVersions;

TEST_CASE("ping: exact bytes") {
  for (const auto version : kVersions) {
    check_wire(Pingreq{}, version, "c0 00");
    check_wire(Pingresp{}, version, "d0 00");
  }
}

TEST_CASE("disconnect: exact bytes") {
  Disconnect packet;
  for (const auto version : kVersions) check_wire(packet, version, "e0 00");
  packet.reason = ReasonCode::session_taken_over;
  check_wire(packet, ProtocolVersion::v5, "e0 01 8e");
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1_1) == bytes("e0 00"));
  packet.properties.server_reference = "b";
  check_wire(packet, ProtocolVersion::v5, "e0 06 8e 04 1c 0001 \"b\"");
  packet.reason = ReasonCode::normal_disconnection;
  check_wire(packet, ProtocolVersion::v5, "e0 06 00 04 1c 0001 \"b\"");
}

TEST_CASE("auth: exact bytes") {
  Auth packet;
  check_wire(packet, ProtocolVersion::v5, "f0 00");
  packet.reason = ReasonCode::continue_authentication;
  packet.properties.authentication_method = "m";
  check_wire(packet, ProtocolVersion::v5, "f0 06 18 04 15 0001 \"m\"");
  packet.properties.authentication_data = "";
  check_wire(packet, ProtocolVersion::v5, "f0 09 18 07 15 0001 \"m\" 16 0000");
}
