// PUBLISH from the client and its acknowledgements. [MQTT5 3.3 - 3.7, 4.3, 4.6, 4.9]
#include <doctest/doctest.h>

#include "tests/support/client_world.h"

namespace connection {
namespace {

using proto::ReasonCode;
using support::ClientWorld;
using support::Lines;
using support::TestClient;
using support::V311;
using support::V5;

struct Connected : ClientWorld {
  TestClient c{*this, V5};
  Connected() {
    c.connect();
    host.calls.clear();
  }
  Lines routed() { return support::take(host.calls); }
};

// The one DISCONNECT that the client got, without its reason string.
std::string disconnect(TestClient& c) {
  const Lines lines = c.received();
  if (lines.size() != 1) return "";
  return lines[0].substr(0, lines[0].find(" {"));
}

}  // namespace

// --- QoS 1 and 2 ---

TEST_CASE_FIXTURE(Connected, "publish in: QoS 0, 1 and 2 are routed once and answered as they must be") {
  c.send("30 [ 't' [] \"m0\" ] 32 [ 't' 0001 [] \"m1\" ] 34 [ 't' 0002 [] \"m2\" ]");
  CHECK(routed() == Lines{"publish t \"m0\" qos=0", "publish t \"m1\" qos=1", "publish t \"m2\" qos=2"});
  CHECK(c.received() == Lines{"PUBACK id=1 \"Success\"", "PUBREC id=2 \"Success\""});
  c.send("62 [ 0002 ]");
  CHECK(c.received() == Lines{"PUBCOMP id=2 \"Success\""});
}

TEST_CASE_FIXTURE(Connected, "publish in: the retain flag and an empty payload are passed on") {
  c.send("31 [ 't' [] ]");
  CHECK(routed() == Lines{"publish t \"\" qos=0 retain"});
}

TEST_CASE_FIXTURE(Connected, "publish in: a payload that looks like packets is a payload") {
  c.send("30 [ 't' [] \"0\" ] 30 [ 't' [] c0 00 e0 00 ]");
  CHECK(routed().size() == 2);
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(Connected, "publish in: QoS 2 sent again before PUBREL gets PUBREC, and is not routed again") {
  c.send("34 [ 't' 0002 [] \"m\" ] 3c [ 't' 0002 [] \"m\" ]");
  CHECK(routed().size() == 1);
  CHECK(c.received() == Lines{"PUBREC id=2 \"Success\"", "PUBREC id=2 \"Success\""});
}

TEST_CASE_FIXTURE(Connected, "publish in: QoS 2 sent again before its PUBREC gets one PUBREC") {
  host.publish_waits = true;
  c.send("34 [ 't' 0002 [] \"m\" ] 3c [ 't' 0002 [] \"m\" ]");
  CHECK(c.received().empty());
  c.client->publish_complete(host.pending[0], ReasonCode::success);
  CHECK(c.received() == Lines{"PUBREC id=2 \"Success\""});
  CHECK(routed().size() == 1);
}

TEST_CASE_FIXTURE(Connected, "publish in: after PUBCOMP the packet id names a new message") {
  for (int i = 0; i < 3; ++i) c.send("34 [ 't' 0002 [] \"m\" ] 62 [ 0002 ]");
  CHECK(routed().size() == 3);
  CHECK(host.session->incoming_qos2.empty());
}

TEST_CASE_FIXTURE(Connected, "publish in: QoS 2 is known again in the next connection of its session") {
  c.send("34 [ 't' 0002 [] \"m\" ]");
  c.client->on_transport_closed();
  host.claim_waits = true;
  TestClient next(*this, V5);
  next.send_connect("", "00");
  host.grant(*next.client, true);
  next.received();
  routed();
  next.send("3c [ 't' 0002 [] \"m\" ] 62 [ 0002 ]");
  CHECK(next.received() == Lines{"PUBREC id=2 \"Success\"", "PUBCOMP id=2 \"Success\""});
  CHECK(routed().empty());
}

TEST_CASE_FIXTURE(Connected, "publish in: a PUBREL of no known packet id is answered all the same") {
  c.send("62 [ 0009 ]");
  CHECK(c.received() == Lines{"PUBCOMP id=9 \"Packet Identifier not found\""});
  TestClient old(*this, V311);
  old.connect();
  old.send("62 [ 0009 ]");
  CHECK(old.received_bytes() == TestClient::bytes("70 02 0009"));
}

// --- order and reasons of the answers ---

TEST_CASE_FIXTURE(Connected, "publish in: answers leave in the order of the PUBLISHes, whatever is safe first") {
  host.publish_waits = true;
  c.send("32 [ 't' 0001 [] ] 34 [ 't' 0002 [] ] 32 [ 't' 0003 [] ]");
  c.client->publish_complete(host.pending[2], ReasonCode::success);
  c.client->publish_complete(host.pending[1], ReasonCode::success);
  CHECK(c.received().empty());
  c.client->publish_complete(host.pending[0], ReasonCode::success);
  CHECK(c.received() == Lines{"PUBACK id=1 \"Success\"", "PUBREC id=2 \"Success\"", "PUBACK id=3 \"Success\""});
}

TEST_CASE_FIXTURE(Connected, "publish in: what is safe at once waits behind what is not") {
  host.publish_waits = true;
  c.send("32 [ 't' 0001 [] ]");
  host.publish_waits = false;
  c.send("32 [ 't' 0002 [] ] 32 [ '$SYS/x' 0003 [] ]");
  CHECK(c.received().empty());
  c.client->publish_complete(host.pending[0], ReasonCode::success);
  CHECK(c.received() == Lines{"PUBACK id=1 \"Success\"", "PUBACK id=2 \"Success\"", "PUBACK id=3 \"Not authorized\""});
}

TEST_CASE_FIXTURE(Connected, "publish in: PINGREQ is answered past PUBLISHes that wait") {
  host.publish_waits = true;
  c.send("32 [ 't' 0001 [] ] c0 00");
  CHECK(c.received() == Lines{"PINGRESP"});
}

TEST_CASE_FIXTURE(Connected, "publish in: thousands that wait are released in order, in any order of completion") {
  config.receive_maximum = 65535;
  host.publish_waits = true;
  for (int i = 1; i <= 1000; ++i) {
    const char id[] = {static_cast<char>(i >> 8), static_cast<char>(i)};
    c.send_bytes(TestClient::bytes("32 06 't'") + std::string(id, 2) + '\0');
  }
  for (size_t i = 0; i < 1000; ++i) {
    c.client->publish_complete(host.pending[(i * 7) % 1000], ReasonCode::success);
  }
  const Lines answers = c.received();
  REQUIRE(answers.size() == 1000);
  for (size_t i = 0; i < 1000; ++i) REQUIRE(answers[i] == "PUBACK id=" + std::to_string(i + 1) + " \"Success\"");
}

TEST_CASE_FIXTURE(Connected, "publish in: MQTT 5 is told the reason") {
  host.publish_reason = ReasonCode::no_matching_subscribers;
  c.send("32 [ 't' 0001 [] ] 34 [ 't' 0002 [] ]");
  CHECK(c.received() == Lines{"PUBACK id=1 \"No matching subscribers\"", "PUBREC id=2 \"No matching subscribers\""});
  host.publish_reason = ReasonCode::quota_exceeded;
  c.send("32 [ 't' 0003 [] ] 34 [ 't' 0004 [] ]");
  CHECK(c.received() == Lines{"PUBACK id=3 \"Quota exceeded\"", "PUBREC id=4 \"Quota exceeded\""});
}

TEST_CASE_FIXTURE(Connected, "publish in: an error in PUBREC ends the flow, its packet id is free") {
  host.publish_reason = ReasonCode::quota_exceeded;
  c.send("34 [ 't' 0002 [] ]");
  CHECK(host.session->incoming_qos2 == std::vector<uint16_t>{});
  host.publish_reason = ReasonCode::success;
  c.send("34 [ 't' 0002 [] ]");
  CHECK(routed().size() == 2);
  CHECK(host.session->incoming_qos2 == std::vector<uint16_t>{2});
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: MQTT 3.1.1 gets no reasons") {
  TestClient c(*this, V311);
  c.connect();
  host.publish_reason = ReasonCode::no_matching_subscribers;
  c.send("32 [ 't' 0001 ] 34 [ 't' 0002 ]");
  CHECK(c.received_bytes() == TestClient::bytes("40 02 0001 50 02 0002"));
}

TEST_CASE_FIXTURE(Connected, "publish in: an answer after the end goes nowhere") {
  host.publish_waits = true;
  c.send("32 [ 't' 0001 [] ]");
  c.client->on_transport_closed();
  c.client->publish_complete(host.pending[0], ReasonCode::success);
  CHECK(c.received_bytes().empty());
}

// --- receive maximum ---

TEST_CASE_FIXTURE(ClientWorld, "publish in: one more than the receive maximum is 0x93") {
  config.receive_maximum = 2;
  for (const char* third : {"32 [ 't' 0003 [] ]", "34 [ 't' 0003 [] ]", "32 [ '$SYS/x' 0003 [] ]"}) {
    TestClient c(*this, V5);
    c.connect();
    host.publish_waits = true;
    c.send("32 [ 't' 0001 [] ] 34 [ 't' 0002 [] ] 30 [ 't' [] ]");
    CHECK_FALSE(c.closed);
    c.send(third);
    CHECK(disconnect(c) == "DISCONNECT \"Receive Maximum exceeded\"");
    CHECK(c.closed);
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: QoS 2 counts for the receive maximum until its PUBCOMP") {
  config.receive_maximum = 1;
  TestClient c(*this, V5);
  c.connect();
  c.send("34 [ 't' 0001 [] ] 62 [ 0001 ] 34 [ 't' 0002 [] ]");
  CHECK_FALSE(c.closed);
  c.send("34 [ 't' 0003 [] ]");
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: a repeated QoS 2 counts once") {
  config.receive_maximum = 1;
  TestClient c(*this, V5);
  c.connect();
  c.send("34 [ 't' 0001 [] ] 3c [ 't' 0001 [] ] 3c [ 't' 0001 [] ]");
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: every connection begins with its whole receive maximum") {
  config.receive_maximum = 1;
  TestClient c(*this, V5);
  c.connect("11 0000000a");
  c.send("34 [ 't' 0001 [] ]");
  c.client->on_transport_closed();
  host.claim_waits = true;
  TestClient next(*this, V5);
  next.send_connect("11 0000000a", "00");
  host.grant(*next.client, true);
  next.received();
  next.send("34 [ 't' 0002 [] ]");
  CHECK(next.received() == Lines{"PUBREC id=2 \"Success\""});
  next.send("62 [ 0001 ] 62 [ 0002 ] 34 [ 't' 0003 [] ]");
  CHECK_FALSE(next.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: MQTT 3.1.1 knows no receive maximum") {
  config.receive_maximum = 1;
  TestClient c(*this, V311);
  c.connect();
  host.publish_waits = true;
  c.send("32 [ 't' 0001 ] 32 [ 't' 0002 ] 34 [ 't' 0003 ]");
  CHECK_FALSE(c.closed);
}

// --- topic aliases ---

TEST_CASE_FIXTURE(Connected, "publish in: an alias stands for the topic that came with it last") {
  c.send("30 [ 'a' [ 23 0001 ] \"1\" ] 30 [ '' [ 23 0001 ] \"2\" ]");
  c.send("30 [ 'b' [ 23 0001 ] \"3\" ] 30 [ '' [ 23 0001 ] \"4\" ]");
  CHECK(routed() ==
        Lines{"publish a \"1\" qos=0", "publish a \"2\" qos=0", "publish b \"3\" qos=0", "publish b \"4\" qos=0"});
}

TEST_CASE_FIXTURE(Connected, "publish in: an alias is known to its connection alone") {
  c.send("30 [ 'a' [ 23 0001 ] ]");
  TestClient other(*this, V5);
  other.connect();
  other.send("30 [ '' [ 23 0001 ] ]");
  CHECK(disconnect(other) == "DISCONNECT \"Protocol Error\"");
}

TEST_CASE_FIXTURE(Connected, "publish in: aliases over the maximum, and where there are none, are 0x94") {
  c.send("30 [ 'a' [ 23 000a ] ]");
  CHECK_FALSE(c.closed);
  c.send("30 [ 'a' [ 23 000b ] ]");
  CHECK(disconnect(c) == "DISCONNECT \"Topic Alias invalid\"");
  config.topic_alias_max = 0;
  TestClient none(*this, V5);
  none.connect();
  none.send("30 [ 'a' [ 23 0001 ] ]");
  CHECK(disconnect(none) == "DISCONNECT \"Topic Alias invalid\"");
}

// --- what is refused ---

TEST_CASE_FIXTURE(ClientWorld, "publish in: what closes the connection, and with which reason") {
  struct Row {
    const char* bytes;
    const char* reason;
  };
  const Row rows[] = {
      {"36 [ 't' 0001 [] ]", "Malformed Packet"},          // QoS 3
      {"38 [ 't' [] ]", "Malformed Packet"},               // DUP at QoS 0
      {"32 [ 't' 0000 [] ]", "Protocol Error"},            // packet id 0
      {"30 [ 'a/#' [] ]", "Topic Name invalid"},           // a wildcard
      {"30 [ '' [] ]", "Protocol Error"},                  // neither topic nor alias
      {"30 [ 't' [ 0b 01 ] ]", "Protocol Error"},          // a subscription identifier
      {"30 [ 't' [ 23 0000 ] ]", "Topic Alias invalid"},   // alias 0
      {"30 [ 't' [ 11 00000001 ] ]", "Malformed Packet"},  // a property of CONNECT
      {"30 [ 't' ]", "Malformed Packet"},                  // no properties
      {"30 [ {ff} [] ]", "Malformed Packet"},              // not UTF-8
  };
  for (const Row& row : rows) {
    TestClient c(*this, V5);
    c.connect();
    c.send(row.bytes);
    const std::string got = disconnect(c);
    const bool expected =
        got == std::string("DISCONNECT \"") + row.reason + '"' || got == "DISCONNECT \"Protocol Error\"";
    CHECK_MESSAGE(expected, row.bytes << ": " << got);
    CHECK(c.closed);
    CHECK(support::take(host.calls) == Lines{"claim c clean expiry=0", "closed with will"});
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: retain where it is not available") {
  config.retain_available = false;
  TestClient c(*this, V5);
  c.connect();
  c.send("31 [ 't' [] ]");
  CHECK(disconnect(c) == "DISCONNECT \"Retain not supported\"");
  TestClient old(*this, V311);
  old.connect();
  host.calls.clear();
  old.send("31 [ 't' ]");
  CHECK(host.calls == Lines{"publish t \"\" qos=0"});
}

TEST_CASE_FIXTURE(Connected, "publish in: $SYS is the broker's own") {
  c.send("30 [ '$SYS/x' [] ] 32 [ '$SYS' 0001 [] ] 34 [ '$SYS/x' 0002 [] ] 30 [ '$SYSTEM' [] ]");
  CHECK(c.received() == Lines{"PUBACK id=1 \"Not authorized\"", "PUBREC id=2 \"Not authorized\""});
  CHECK(routed() == Lines{"publish $SYSTEM \"\" qos=0"});
}

TEST_CASE_FIXTURE(ClientWorld, "publish in: topics over the limits") {
  config.max_topic_levels = 2;
  config.max_topic_length = 8;
  for (const char* topic : {"'a/b/c'", "'123456789'"}) {
    TestClient c(*this, V5);
    c.connect();
    c.send(std::string("32 [ ") + topic + " 0001 [] ]");
    CHECK(c.received() == Lines{"PUBACK id=1 \"Topic Name invalid\""});
    c.send(std::string("30 [ ") + topic + " [] ]");
    CHECK(disconnect(c) == "DISCONNECT \"Topic Name invalid\"");
    TestClient old(*this, V311);
    old.connect();
    old.send(std::string("32 [ ") + topic + " 0001 ]");
    CHECK(old.closed);
    CHECK(old.received_bytes().empty());
  }
}

// --- acknowledgements of what the client was sent ---

TEST_CASE_FIXTURE(Connected, "publish in: the client's acknowledgements reach its session, and make room") {
  host.session->expiry_interval = 1;
  host.session->deliver(support::delivery("m1", 1));
  host.session->deliver(support::delivery("m2", 2));
  c.received();
  c.send("40 [ 0001 ] 50 [ 0002 ]");
  CHECK(c.received() == Lines{"PUBREL id=2 \"Success\""});
  c.send("70 [ 0002 ]");
  CHECK(host.session->inflight().empty());
  CHECK(host.rooms >= 3);
}

TEST_CASE_FIXTURE(Connected, "publish in: acknowledgements of nothing are ignored, a PUBREC is answered") {
  c.send("40 [ 0007 ] 70 [ 0007 ] 50 [ 0007 ] 50 [ 0008 80 ]");
  CHECK(c.received() == Lines{"PUBREL id=7 \"Packet Identifier not found\""});
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(Connected, "publish in: a PUBREC with an error reason ends the flow") {
  host.session->deliver(support::delivery("m1", 2));
  c.received();
  c.send("50 [ 0001 97 ]");
  CHECK(c.received().empty());
  CHECK(host.session->inflight().empty());
}

}  // namespace connection
