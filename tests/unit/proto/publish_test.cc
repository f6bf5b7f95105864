// PUBLISH and its acknowledgements.
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;
using wire::check_wire;
using wire::kVersions;

namespace {

Publish message(std::string_view topic, std::string_view payload, QoS qos = QoS::at_most_once, uint16_t id = 0) {
  Publish packet;
  packet.topic = topic;
  packet.payload = payload;
  packet.qos = qos;
  packet.packet_id = id;
  return packet;
}

std::string head_bytes(const PublishHead& head) {
  const PublishSize size = publish_size(head);
  CHECK(size.total == size.head + head.payload_size);
  std::string out(size.head, '?');
  CHECK(write_publish_head(head, out.data()) == out.data() + out.size());
  return out;
}

std::string ack_bytes(PacketType type, ProtocolVersion version, ReasonCode reason) {
  char out[5];
  return std::string(out, write_ack(type, version, 0x1234, reason, out));
}

template <typename Body>
Body ack(uint16_t id, ReasonCode reason = ReasonCode::success) {
  Body packet;
  packet.packet_id = id;
  packet.reason = reason;
  return packet;
}

}  // namespace

TEST_CASE("publish: exact bytes") {
  for (const auto version : {ProtocolVersion::v3_1, ProtocolVersion::v3_1_1}) {
    check_wire(message("a/b", "hi"), version, "30 07 0003 \"a/b\" \"hi\"");
    check_wire(message("a/b", "hi", QoS::at_least_once, 10), version, "32 09 0003 \"a/b\" 000a \"hi\"");
  }
  check_wire(message("a/b", "hi", QoS::exactly_once, 0xFFFE), ProtocolVersion::v5, "34 0a 0003 \"a/b\" fffe 00 \"hi\"");
  Publish packet = message("a/b", "", QoS::exactly_once, 1);
  packet.dup = true;
  packet.retain = true;
  check_wire(packet, ProtocolVersion::v3_1_1, "3d 07 0003 \"a/b\" 0001");
}

TEST_CASE("publish: properties, exact bytes") {
  Publish packet = message("", "hi");
  packet.properties.topic_alias = 5;
  packet.properties.message_expiry_interval = 60;
  packet.properties.subscription_identifiers = {1, 128};
  const std::string forwarded = bytes("26 'b' '1' 01 01");
  packet.properties.block = forwarded;
  check_wire(packet, ProtocolVersion::v5, "30 [ '' [ 23 0005 02 0000003c 0b 01 0b 8001 26 'b' '1' 01 01 ] \"hi\" ]");
}

TEST_CASE("publish: a view into the frame, nothing allocated") {
  const auto frame = wire::only_frame(bytes("32 [ 'a/b' 0001 [ 02 00000001 26 'a' 'b' ] \"hi\" ]"));
  Publish packet;
  REQUIRE_FALSE(decode(frame.view(), ProtocolVersion::v5, packet));
  const auto is_inside = [&](std::string_view part) {
    return part.data() >= frame.body.data() && part.data() + part.size() <= frame.body.data() + frame.body.size();
  };
  CHECK(is_inside(packet.topic));
  CHECK(is_inside(packet.payload));
  CHECK(is_inside(packet.properties.block));
  CHECK(packet.properties.block == bytes("02 00000001 26 'a' 'b'"));
  CHECK(packet.properties.subscription_identifiers.capacity() == 0);
}

TEST_CASE("publish: a reused struct keeps nothing of the packet before") {
  const auto full = wire::only_frame(bytes("3b [ 'a' 0001 [ 23 0001 02 00000001 0b 01 26 'a' 'b' ] \"hi\" ]"));
  const auto bare = wire::only_frame(bytes("30 [ 'b' ]"));
  Publish packet;
  REQUIRE_FALSE(decode(full.view(), ProtocolVersion::v5, packet));
  REQUIRE_FALSE(decode(bare.view(), ProtocolVersion::v3_1_1, packet));
  CHECK(packet == message("b", ""));
}

TEST_CASE("publish: all sixteen flags") {
  for (const auto version : kVersions) {
    for (unsigned flags = 0; flags < 16; ++flags) {
      CAPTURE(flags);
      const unsigned qos = flags >> 1 & 3;
      const std::string body = bytes(qos == 0 ? "'a' 00" : "'a' 0001 00");
      Publish packet;
      const auto error = decode({PacketType::publish, static_cast<uint8_t>(flags), body}, version, packet);
      const bool refused = qos == 3 || (qos == 0 && (flags & 8));
      CHECK(error.has_value() == refused);
      if (error) CHECK(error->reason == ReasonCode::malformed_packet);
      if (!refused) CHECK(packet.dup == ((flags & 8) != 0));
      if (!refused) CHECK(packet.retain == ((flags & 1) != 0));
      if (!refused) CHECK(static_cast<unsigned>(packet.qos) == qos);
    }
  }
}

TEST_CASE("publish head: sizes at the boundaries of the remaining length") {
  for (const size_t payload :
       {0u,      1u,      100u,    120u,    121u,    122u,       123u,       124u,       125u,       16'376u,
        16'377u, 16'378u, 16'379u, 16'380u, 16'381u, 2'097'144u, 2'097'145u, 2'097'146u, 2'097'147u, 2'097'148u}) {
    for (const auto version : kVersions) {
      CAPTURE(payload);
      PublishHead head;
      head.version = version;
      head.topic = "abc";
      head.payload_size = payload;
      const std::string packet = head_bytes(head) + std::string(payload, 'x');
      CHECK(packet == wire::encoded(message("abc", std::string_view(packet).substr(packet.size() - payload)), version));
      CHECK(wire::only_frame(packet).body.size() >= payload);
    }
  }
}

TEST_CASE("publish head: sizes at the boundaries of the property length") {
  for (size_t value = 110; value < 130; ++value) {
    const std::string forwarded = bytes("26 'name' {61*" + std::to_string(value) + "}");
    PublishHead head;
    head.version = ProtocolVersion::v5;
    head.topic = "abc";
    head.topic_alias = 1;
    head.forwarded_properties = forwarded;
    const auto frame = wire::only_frame(head_bytes(head));
    Publish packet;
    REQUIRE_FALSE(decode(frame.view(), ProtocolVersion::v5, packet));
    CHECK(packet.properties.block == bytes("23 0001") + forwarded);
    CHECK(packet.payload.empty());
  }
}

TEST_CASE("publish head: MQTT 3 ignores what is MQTT 5's") {
  const uint32_t identifiers[] = {1, 2};
  PublishHead head;
  head.topic = "a";
  head.qos = QoS::at_least_once;
  head.packet_id = 7;
  head.payload_size = 3;
  head.topic_alias = 5;
  head.message_expiry_interval = 1;
  head.subscription_identifiers = identifiers;
  head.subscription_identifier_count = 2;
  head.forwarded_properties = "whatever";
  CHECK(head_bytes(head) == bytes("32 08 0001 \"a\" 0007"));
}

TEST_CASE("publish head: what is too large to be sent shows in the total") {
  PublishHead head;
  head.topic = "a";
  head.payload_size = kMaxVariableByteInteger - 3;
  CHECK(publish_size(head).total == kMaxPacketSize);
  ++head.payload_size;
  CHECK(publish_size(head).total > kMaxPacketSize);
  head.payload_size = size_t{1} << 40;
  CHECK(publish_size(head).total > kMaxPacketSize);
}

TEST_CASE("acknowledgements: exact bytes") {
  struct Case {
    PacketType type;
    const char* expected;
  };
  for (const Case& one : std::vector<Case>{{PacketType::puback, "40 02 1234"},
                                           {PacketType::pubrec, "50 02 1234"},
                                           {PacketType::pubrel, "62 02 1234"},
                                           {PacketType::pubcomp, "70 02 1234"}}) {
    for (const auto version : kVersions) {
      CHECK(ack_bytes(one.type, version, ReasonCode::success) == bytes(one.expected));
    }
  }
  CHECK(ack_bytes(PacketType::pubrel, ProtocolVersion::v5, ReasonCode::packet_identifier_not_found) ==
        bytes("62 03 1234 92"));
  CHECK(ack_bytes(PacketType::puback, ProtocolVersion::v3_1_1, ReasonCode::not_authorized) == bytes("40 02 1234"));
  CHECK(ack_bytes(PacketType::puback, ProtocolVersion::v5, ReasonCode::no_matching_subscribers) ==
        bytes("40 03 1234 10"));
}

TEST_CASE("acknowledgements: structs, exact bytes") {
  check_wire(ack<Puback>(1), ProtocolVersion::v3_1, "40 02 0001");
  check_wire(ack<Pubrec>(1), ProtocolVersion::v5, "50 02 0001");
  check_wire(ack<Pubrel>(0xFFFF), ProtocolVersion::v3_1_1, "62 02 ffff");
  check_wire(ack<Pubcomp>(1, ReasonCode::packet_identifier_not_found), ProtocolVersion::v5, "70 03 0001 92");
  auto with_properties = ack<Puback>(1);
  with_properties.properties.reason_string = "ok";
  check_wire(with_properties, ProtocolVersion::v5, "40 [ 0001 00 [ 1f 'ok' ] ]");
  CHECK(wire::encoded(with_properties, ProtocolVersion::v3_1_1) == bytes("40 02 0001"));
}
