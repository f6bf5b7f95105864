// CONNECT and CONNACK.
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;
using wire::check_wire;
using wire::kVersions;

namespace {

Connect client(ProtocolVersion version, std::string_view client_id) {
  Connect packet;
  packet.version = version;
  packet.client_id = client_id;
  return packet;
}

}  // namespace

TEST_CASE("connect: the smallest, exact bytes") {
  check_wire(client(ProtocolVersion::v3_1, "c"), ProtocolVersion::v3_1, "10 0f 0006 \"MQIsdp\" 03 02 0000 0001 \"c\"");
  check_wire(client(ProtocolVersion::v3_1_1, "c"), ProtocolVersion::v3_1_1,
             "10 0d 0004 \"MQTT\" 04 02 0000 0001 \"c\"");
  check_wire(client(ProtocolVersion::v5, "c"), ProtocolVersion::v5, "10 0e 0004 \"MQTT\" 05 02 0000 00 0001 \"c\"");
}

TEST_CASE("connect: everything, exact bytes") {
  Connect packet = client(ProtocolVersion::v5, "client");
  packet.clean_start = false;
  packet.keep_alive = 0x1234;
  packet.user_name = "user";
  packet.password = "pass";
  packet.properties.session_expiry_interval = 0x01020304;
  packet.properties.receive_maximum = 20;
  packet.properties.user_properties = {{"a", "1"}, {"a", "2"}};
  Will& will = packet.will.emplace();
  will.qos = QoS::exactly_once;
  will.retain = true;
  will.topic = "w/t";
  will.payload = "gone";
  will.properties.will_delay_interval = 5;
  will.properties.content_type = "text";
  check_wire(packet, ProtocolVersion::v5,
             "10 [ 'MQTT' 05"
             "     f4 1234"  // user name, password, retain, QoS 2, will
             "     [ 11 01020304 21 0014 26 'a' '1' 26 'a' '2' ]"
             "     'client'"
             "     [ 03 'text' 18 00000005 ] 'w/t' 'gone'"
             "     'user' 'pass' ]");
}

TEST_CASE("connect: a reused struct keeps nothing of the packet before") {
  Connect packet;
  const auto full = wire::only_frame(
      bytes("10 [ 'MQTT' 05 e6 003c [ 11 00000001 26 'a' 'b' ] 'c' [ 18 00000001 ] 'w' 'm' 'user' 'pass' ]"));
  const auto bare = wire::only_frame(bytes("10 [ 'MQTT' 04 02 0000 'c' ]"));
  REQUIRE_FALSE(decode(full.view(), packet));
  REQUIRE_FALSE(decode(bare.view(), packet));
  CHECK(packet == client(ProtocolVersion::v3_1_1, "c"));
}

TEST_CASE("connect: on an error the version says how to answer") {
  struct Case {
    const char* packet;
    ProtocolVersion version;
  };
  for (const Case& one : std::vector<Case>{{"10 [ 'MQTT' 05 03 003c [] 'c' ]", ProtocolVersion::v5},
                                           {"10 [ 'MQTT' 05 02 003c [ 21 0000 ] 'c' ]", ProtocolVersion::v5},
                                           {"10 [ 'MQTT' 06 ]", ProtocolVersion::v5},
                                           {"10 [ 'MQTT' 04 03 003c 'c' ]", ProtocolVersion::v3_1_1},
                                           {"10 [ 'MQTT' 02 02 003c 'c' ]", ProtocolVersion::v3_1_1},
                                           {"10 [ 'MQIsdp' 03 01 003c 'c' ]", ProtocolVersion::v3_1},
                                           {"10 [ 'AMQP' 05 02 003c 'c' ]", ProtocolVersion::v3_1_1},
                                           {"10 00", ProtocolVersion::v3_1_1}}) {
    CAPTURE(one.packet);
    const auto frame = wire::only_frame(bytes(one.packet));
    Connect packet;
    packet.version = ProtocolVersion::v5;
    CHECK(decode(frame.view(), packet));
    CHECK(packet.version == one.version);
  }
}

TEST_CASE("connect: all 256 flag bytes, with a payload that would fit each") {
  for (const auto version : kVersions) {
    for (unsigned flags = 0; flags < 256; ++flags) {
      CAPTURE(flags);
      const bool v5 = version == ProtocolVersion::v5;
      const bool v3_1 = version == ProtocolVersion::v3_1;
      const bool will = flags & 0x04;
      std::string body = bytes(v3_1 ? "'MQIsdp'" : "'MQTT'") + static_cast<char>(version) + static_cast<char>(flags) +
                         bytes(v5 ? "003c [] 'c'" : "003c 'c'");
      if (will) body += bytes(v5 ? "[] 'w' 'm'" : "'w' 'm'");
      if (flags & 0x80) body += bytes("'user'");
      if (flags & 0x40) body += bytes("'pass'");
      Connect packet;
      const bool refused = decode({PacketType::connect, 0, body}, packet).has_value();
      const bool reserved = flags & 0x01;
      const bool will_qos_3 = will && (flags & 0x18) == 0x18;
      const bool stray_will_flags = !will && (flags & 0x38) && !v3_1;
      const bool stray_password = (flags & 0xC0) == 0x40 && !v5;
      CHECK(refused == (reserved || will_qos_3 || stray_will_flags || stray_password));
      if (refused) continue;
      CHECK(packet.clean_start == ((flags & 0x02) != 0));
      CHECK(packet.will.has_value() == will);
      CHECK(packet.user_name.has_value() == ((flags & 0x80) != 0));
      CHECK(packet.password.has_value() == ((flags & 0x40) != 0));
      if (will) CHECK(static_cast<unsigned>(packet.will->qos) == ((flags >> 3) & 3));
      if (will) CHECK(packet.will->retain == ((flags & 0x20) != 0));
    }
  }
}

TEST_CASE("connect: all 256 levels of both names") {
  for (unsigned level = 0; level < 256; ++level) {
    for (const char* name : {"MQTT", "MQIsdp"}) {
      CAPTURE(level);
      const bool old = name == std::string_view("MQIsdp");
      const bool known = old ? level == 3 || level == 0x83 : level == 4 || level == 0x84 || level == 5;
      const std::string body = bytes(old ? "'MQIsdp'" : "'MQTT'") + static_cast<char>(level) +
                               bytes(level == 5 ? "02 003c [] 'c'" : "02 003c 'c'");
      Connect packet;
      const auto error = decode({PacketType::connect, 0, body}, packet);
      CHECK(error.has_value() != known);
      if (error) CHECK(error->reason == ReasonCode::unsupported_protocol_version);
      if (known) CHECK(packet.bridge == (level > 0x80));
      if (known) CHECK(static_cast<unsigned>(packet.version) == (level & 0x7F));
    }
  }
}

TEST_CASE("connack: exact bytes") {
  Connack packet;
  check_wire(packet, ProtocolVersion::v3_1_1, "20 02 00 00");
  check_wire(packet, ProtocolVersion::v5, "20 03 00 00 00");
  packet.session_present = true;
  check_wire(packet, ProtocolVersion::v3_1_1, "20 02 01 00");
  packet.properties.assigned_client_identifier = "id";
  packet.properties.topic_alias_maximum = 10;
  packet.properties.shared_subscription_available = uint8_t{0};
  check_wire(packet, ProtocolVersion::v5, "20 [ 01 00 [ 12 'id' 22 000a 2a 00 ] ]");
}

TEST_CASE("connack: MQTT 3.1 knows no session present") {
  Connack packet;
  packet.session_present = true;
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1) == bytes("20 02 00 00"));
}

TEST_CASE("connack: reasons become return codes before MQTT 5") {
  Connack packet;
  packet.reason = ReasonCode::banned;
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1_1) == bytes("20 02 00 05"));
  CHECK(wire::encoded(packet, ProtocolVersion::v5) == bytes("20 03 00 8a 00"));
  packet.reason = ReasonCode::server_busy;
  CHECK(wire::encoded(packet, ProtocolVersion::v3_1) == bytes("20 02 00 03"));
}
