#include "proto/reason_code.h"

#include <map>
#include <set>

#include "proto/reason_rules.h"
#include "tests/unit/proto/wire.h"

using namespace proto;

namespace {

std::set<unsigned> codes_of(PacketType packet) {
  std::set<unsigned> codes;
  for (unsigned code = 0; code < 256; ++code) {
    if (may_stand_in(static_cast<ReasonCode>(code), packet)) codes.insert(code);
  }
  return codes;
}

}  // namespace

TEST_CASE("reason codes: which packet knows which") {
  // The reason code sections 3.2.2.2, 3.4.2.1 ... 3.15.2.1 of MQTT 5, written down apart from table 2-6.
  const std::set<unsigned> received = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
  const std::set<unsigned> released = {0x00, 0x92};
  CHECK(codes_of(PacketType::connack) == std::set<unsigned>{0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                                            0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
                                                            0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F});
  CHECK(codes_of(PacketType::puback) == received);
  CHECK(codes_of(PacketType::pubrec) == received);
  CHECK(codes_of(PacketType::pubrel) == released);
  CHECK(codes_of(PacketType::pubcomp) == released);
  CHECK(codes_of(PacketType::suback) ==
        std::set<unsigned>{0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2});
  CHECK(codes_of(PacketType::unsuback) == std::set<unsigned>{0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91});
  CHECK(codes_of(PacketType::disconnect) ==
        std::set<unsigned>{0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93,
                           0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2});
  CHECK(codes_of(PacketType::auth) == std::set<unsigned>{0x00, 0x18, 0x19});
  for (const auto packet : {PacketType::connect, PacketType::publish, PacketType::subscribe, PacketType::unsubscribe,
                            PacketType::pingreq, PacketType::pingresp}) {
    CHECK(codes_of(packet).empty());
  }
}

TEST_CASE("reason codes: all have a name, and no two the same") {
  std::set<std::string_view> names;
  size_t known = 0;
  for (unsigned code = 0; code < 256; ++code) {
    const auto name = to_string(static_cast<ReasonCode>(code));
    if (name == "Unknown reason") continue;
    ++known;
    names.insert(name);
  }
  CHECK(known == 43);
  CHECK(names.size() == known);
  CHECK(to_string(ReasonCode::malformed_packet) == "Malformed Packet");
  CHECK(to_string(ReasonCode::session_taken_over) == "Session taken over");
}

TEST_CASE("reason codes: what MQTT 3 clients are told") {
  CHECK(to_return_code(ReasonCode::success) == ConnectReturnCode::accepted);
  CHECK(to_return_code(ReasonCode::unsupported_protocol_version) == ConnectReturnCode::unacceptable_protocol_version);
  CHECK(to_return_code(ReasonCode::client_identifier_not_valid) == ConnectReturnCode::identifier_rejected);
  CHECK(to_return_code(ReasonCode::bad_user_name_or_password) == ConnectReturnCode::bad_user_name_or_password);
  CHECK(to_return_code(ReasonCode::not_authorized) == ConnectReturnCode::not_authorized);
  CHECK(to_return_code(ReasonCode::banned) == ConnectReturnCode::not_authorized);
  CHECK(to_return_code(ReasonCode::server_busy) == ConnectReturnCode::server_unavailable);
  CHECK(to_return_code(ReasonCode::unspecified_error) == ConnectReturnCode::server_unavailable);
}

TEST_CASE("types: names") {
  CHECK(to_string(PacketType::connect) == "CONNECT");
  CHECK(to_string(PacketType::auth) == "AUTH");
  CHECK(to_string(ProtocolVersion::v3_1) == "3.1");
  CHECK(to_string(ProtocolVersion::v5) == "5.0");
}
