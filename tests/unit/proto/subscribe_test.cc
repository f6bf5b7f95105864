// SUBSCRIBE, UNSUBSCRIBE and their acknowledgements.
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;
using wire::check_wire;
using wire::kVersions;

TEST_CASE("subscribe: exact bytes") {
  Subscribe packet;
  packet.packet_id = 10;
  packet.entries = {{"a/b", QoS::at_least_once, false, false, RetainHandling::send},
                    {"#", QoS::exactly_once, {}, {}, {}}};
  for (const auto version : {ProtocolVersion::v3_1, ProtocolVersion::v3_1_1}) {
    check_wire(packet, version, "82 0c 000a 0003 \"a/b\" 01 0001 \"#\" 02");
  }
  packet.properties.subscription_identifiers = {268'435'455};
  packet.entries[0].no_local = true;
  packet.entries[0].retain_as_published = true;
  packet.entries[0].retain_handling = RetainHandling::do_not_send;
  check_wire(packet, ProtocolVersion::v5, "82 12 000a 05 0b ffffff7f 0003 \"a/b\" 2d 0001 \"#\" 02");
}

TEST_CASE("subscribe: MQTT 3 has no options but the QoS") {
  Subscribe packet;
  packet.packet_id = 1;
  packet.entries = {{"a", QoS::at_least_once, true, true, RetainHandling::do_not_send}};
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1_1) == bytes("82 06 0001 0001 \"a\" 01"));
}

TEST_CASE("subscribe: all 256 option bytes") {
  for (const auto version : kVersions) {
    const bool v5 = version == ProtocolVersion::v5;
    for (unsigned options = 0; options < 256; ++options) {
      CAPTURE(options);
      const std::string body = bytes(v5 ? "0001 [] 'a'" : "0001 'a'") + static_cast<char>(options);
      Subscribe packet;
      const auto error = decode({PacketType::subscribe, 2, body}, version, packet);
      const bool reserved = options & (v5 ? 0xC0 : 0xFC);
      const bool out_of_range = (options & 3) == 3 || (v5 && (options & 0x30) == 0x30);
      REQUIRE(error.has_value() == (reserved || out_of_range));
      if (error) {
        const auto expected = reserved || !v5 ? ReasonCode::malformed_packet : ReasonCode::protocol_error;
        CHECK(error->reason == expected);
        continue;
      }
      const SubscribeEntry& entry = packet.entries.at(0);
      CHECK(static_cast<unsigned>(entry.qos) == (options & 3));
      CHECK(entry.no_local == ((options & 4) != 0));
      CHECK(entry.retain_as_published == ((options & 8) != 0));
      CHECK(static_cast<unsigned>(entry.retain_handling) == options >> 4);
    }
  }
}

TEST_CASE("subscribe: a reused struct keeps nothing of the packet before") {
  const auto first = wire::only_frame(bytes("82 [ 0001 [ 0b 01 26 'a' 'b' ] 'a' 2d 'b' 01 ]"));
  const auto second = wire::only_frame(bytes("82 [ 0002 'c' 00 ]"));
  Subscribe packet;
  REQUIRE_FALSE(decode(first.view(), ProtocolVersion::v5, packet));
  REQUIRE_FALSE(decode(second.view(), ProtocolVersion::v3_1_1, packet));
  Subscribe expected;
  expected.packet_id = 2;
  expected.entries = {{"c", {}, {}, {}, {}}};
  CHECK(packet == expected);
}

TEST_CASE("suback: exact bytes") {
  Suback packet;
  packet.packet_id = 10;
  packet.reasons = {ReasonCode::granted_qos_0, ReasonCode::granted_qos_2, ReasonCode::unspecified_error};
  check_wire(packet, ProtocolVersion::v3_1_1, "90 05 000a 00 02 80");
  check_wire(packet, ProtocolVersion::v5, "90 06 000a 00 00 02 80");
  packet.reasons = {ReasonCode::topic_filter_invalid, ReasonCode::granted_qos_1};
  check_wire(packet, ProtocolVersion::v5, "90 05 000a 00 8f 01");
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1_1) == bytes("90 04 000a 80 01"));
}

TEST_CASE("unsubscribe: exact bytes") {
  Unsubscribe packet;
  packet.packet_id = 10;
  packet.filters = {"a/b", "#"};
  check_wire(packet, ProtocolVersion::v3_1, "a2 0a 000a 0003 \"a/b\" 0001 \"#\"");
  packet.properties.user_properties = {{"k", "v"}};
  check_wire(packet, ProtocolVersion::v5, "a2 12 000a 07 26 0001 \"k\" 0001 \"v\" 0003 \"a/b\" 0001 \"#\"");
}

TEST_CASE("unsuback: exact bytes") {
  Unsuback packet;
  packet.packet_id = 10;
  check_wire(packet, ProtocolVersion::v3_1_1, "b0 02 000a");
  packet.reasons = {ReasonCode::success, ReasonCode::no_subscription_existed};
  check_wire(packet, ProtocolVersion::v5, "b0 05 000a 00 00 11");
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1) == bytes("b0 02 000a"));
}
