// CONNECT and its answer. [MQTT5 3.1, 3.2]
#include <doctest/doctest.h>

#include "tests/support/client_world.h"

namespace connection {
namespace {

using metrics::Counter;
using support::ClientWorld;
using support::Lines;
using support::TestClient;
using support::V31;
using support::V311;
using support::V5;

// The answer to a CONNECT of client "c" with these properties.
Lines connack(ClientWorld& world, std::string_view properties) {
  TestClient c(world, V5);
  c.send_connect(properties);
  return c.received();
}

proto::Connect with_id(proto::ProtocolVersion version, std::string_view id, bool clean) {
  proto::Connect packet;
  packet.version = version;
  packet.client_id = id;
  packet.clean_start = clean;
  return packet;
}

}  // namespace

TEST_CASE_FIXTURE(ClientWorld, "connect: every version is answered in its own way") {
  for (const auto version : {V31, V311, V5}) {
    TestClient c(*this, version);
    c.send_connect();
    CHECK(c.received().size() == 1);
    CHECK(c.client->connected());
    CHECK(c.client->version() == version);
    CHECK_FALSE(c.closed);
  }
  CHECK(count(Counter::connects_accepted) == 3);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: MQTT 3 gets four bytes, also with a session present") {
  host.claim_waits = true;
  for (const bool present : {false, true}) {
    TestClient c(*this, V311);
    c.send_connect("", "00");
    host.grant(*c.client, present);
    CHECK(c.received_bytes() == TestClient::bytes(present ? "20 02 01 00" : "20 02 00 00"));
  }
}

TEST_CASE_FIXTURE(ClientWorld, "connect: the claim says what the client wants of its session") {
  struct Row {
    proto::ProtocolVersion version;
    const char* properties;
    const char* flags;
    const char* claim;
  };
  const Row rows[] = {
      {V31, "", "02", "claim c clean expiry=0"},
      {V311, "", "02", "claim c clean expiry=0"},
      {V311, "", "00", "claim c expiry=4294967295"},
      {V5, "", "02", "claim c clean expiry=0"},
      {V5, "", "00", "claim c expiry=0"},
      {V5, "11 0000000a", "02", "claim c clean expiry=10"},
      {V5, "11 ffffffff", "00", "claim c expiry=4294967295"},
  };
  for (const Row& row : rows) {
    TestClient c(*this, row.version);
    c.connect(row.properties, row.flags);
    CHECK(host.calls.back() == row.claim);
  }
}

// --- client identifiers ---

TEST_CASE_FIXTURE(ClientWorld, "connect: who may come without a client identifier") {
  struct Row {
    proto::ProtocolVersion version;
    bool clean, allowed_by_config;
    const char* answer;
  };
  const Row rows[] = {
      {V31, true, true, "CONNACK \"Client Identifier not valid\""},
      {V311, true, true, "CONNACK \"Success\""},
      {V311, false, true, "CONNACK \"Client Identifier not valid\""},
      {V311, true, false, "CONNACK \"Client Identifier not valid\""},
      {V5, true, true, "CONNACK \"Success\""},
      {V5, false, true, "CONNACK \"Success\""},
      {V5, true, false, "CONNACK \"Client Identifier not valid\""},
  };
  for (const Row& row : rows) {
    config.allow_zero_length_client_id = row.allowed_by_config;
    TestClient c(*this, row.version);
    c.send_connect(with_id(row.version, "", row.clean));
    const Lines answer = c.received();
    REQUIRE(answer.size() == 1);
    CHECK(answer[0].starts_with(row.answer));
    CHECK(c.closed == (answer[0].find("Success") == std::string::npos));
  }
}

TEST_CASE_FIXTURE(ClientWorld, "connect: MQTT 5 is told the identifier it got, MQTT 3.1.1 cannot be") {
  TestClient old(*this, V311);
  old.send_connect(with_id(V311, "", true));
  CHECK(old.received_bytes() == TestClient::bytes("20 02 00 00"));
  TestClient c(*this, V5);
  c.send_connect(with_id(V5, "", true));
  const Lines answer = c.received();
  REQUIRE(answer.size() == 1);
  CHECK(answer[0].find("assigned client identifier=\"assigned\"") != std::string::npos);
  CHECK(c.client->client_id() == "assigned");
}

// --- CONNACK properties ---

TEST_CASE_FIXTURE(ClientWorld, "connect: CONNACK says what differs from the protocol's defaults, no more") {
  config.receive_maximum = 65535;
  config.topic_alias_max = 0;
  CHECK(connack(*this, "") == Lines{"CONNACK \"Success\""});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: CONNACK says the broker's limits") {
  config.receive_maximum = 7;
  config.topic_alias_max = 3;
  config.max_packet_size = 1000;
  config.retain_available = false;
  config.max_keepalive = 60;
  CHECK(connack(*this, "") == Lines{"CONNACK \"Success\" {server keep alive=60, receive maximum=7, "
                                    "topic alias maximum=3, retain available=0, maximum packet size=1000}"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a session expiry over the limit is cut, and the client is told") {
  config.receive_maximum = 65535;
  config.topic_alias_max = 0;
  config.session_expiry_max = 100;
  CHECK(connack(*this, "11 00000064") == Lines{"CONNACK \"Success\""});
  CHECK(connack(*this, "11 00000065") == Lines{"CONNACK \"Success\" {session expiry interval=100}"});
  CHECK(connack(*this, "11 ffffffff") == Lines{"CONNACK \"Success\" {session expiry interval=100}"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a keep-alive over the limit, or none, gets the server's") {
  struct Row {
    uint16_t asked;
    bool told;
  };
  config.max_keepalive = 60;
  for (const Row& row : {Row{0, true}, Row{1, false}, Row{60, false}, Row{61, true}}) {
    TestClient c(*this, V5);
    c.send_connect("", "02", row.asked);
    const Lines answer = c.received();
    REQUIRE(answer.size() == 1);
    CHECK((answer[0].find("server keep alive=60") != std::string::npos) == row.told);
  }
}

// --- refusals ---

TEST_CASE_FIXTURE(ClientWorld, "connect: what is no CONNECT of a known version is refused as its version allows") {
  struct Row {
    const char* bytes;
    const char* answer;
  };
  const Row rows[] = {
      {"10 [ 'MQTT' 06 02 0000 [] 'c' ]", "20 03 00 84 00"},           // MQTT 5 speaks for newer ones
      {"10 [ 'MQTT' 02 02 0000 'c' ]", "20 02 00 01"},                 // unacceptable protocol version
      {"10 [ 'MQTX' 04 02 0000 'c' ]", ""},                            // not MQTT at all
      {"10 [ 'MQTT' 04 03 0000 'c' ]", ""},                            // the reserved flag
      {"10 [ 'MQTT' 05 03 0000 [] 'c' ]", "20 03 00 81 00"},           // the same, MQTT 5 is told
      {"10 [ 'MQTT' 05 02 0000 [ 21 0000 ] 'c' ]", "20 03 00 82 00"},  // Receive Maximum 0
      {"10 [ 'MQTT' 05 02 0000 [] ]", "20 03 00 81 00"},               // no client identifier
      {"10 [ ]", ""},
  };
  for (const Row& row : rows) {
    TestClient c(*this, V5);
    c.send(row.bytes);
    CHECK_MESSAGE(c.received_bytes() == TestClient::bytes(row.answer), row.bytes);
    CHECK(c.closed);
  }
  CHECK(count(Counter::protocol_errors) == std::size(rows));
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a refused claim is told and closed") {
  host.refusal = proto::ReasonCode::quota_exceeded;
  TestClient c(*this, V5);
  c.send_connect();
  CHECK(c.received() == Lines{"CONNACK \"Quota exceeded\""});
  CHECK(c.closed);
  CHECK(count(Counter::connects_refused) == 1);
  TestClient old(*this, V311);
  old.send_connect();
  CHECK(old.received_bytes() == TestClient::bytes("20 02 00 03"));
}

TEST_CASE_FIXTURE(ClientWorld, "connect: an authentication method that nobody has is refused") {
  CHECK(connack(*this, "15 'SCRAM-SHA-256'") == Lines{"CONNACK \"Bad authentication method\""});
  CHECK(host.calls == Lines{"closed with will"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a retained will needs retained messages") {
  config.retain_available = false;
  TestClient c(*this, V5);
  c.send("10 [ 'MQTT' 05 26 0000 [] 'c' [] 'w' {} ]");
  CHECK(c.received() == Lines{"CONNACK \"Retain not supported\""});
}

// --- will ---

TEST_CASE_FIXTURE(ClientWorld, "connect: the will is kept with what its publication forwards") {
  TestClient c(*this, V5);
  c.send("10 [ 'MQTT' 05 2e 0000 [] 'c' [ 18 0000000a 02 0000003c 03 'text' 26 'k' 'v' ] 'w' {\"bye\"} ]");
  REQUIRE(host.will);
  CHECK(host.will->topic == "w");
  CHECK(host.will->payload == "bye");
  CHECK(host.will->qos == proto::QoS::at_least_once);
  CHECK(host.will->retain);
  CHECK(host.will->delay == 10);
  CHECK(host.will->message_expiry == 60);
  CHECK(host.will->properties == TestClient::bytes("03 'text' 26 'k' 'v'"));
}

TEST_CASE_FIXTURE(ClientWorld, "connect: no will, none kept") {
  TestClient c(*this, V5);
  c.connect();
  CHECK(host.will == nullptr);
}

// --- before and after ---

TEST_CASE_FIXTURE(ClientWorld, "connect: any other packet first is the end, without a word") {
  for (const char* packet : {"c0 00", "30 [ 't' [] ]", "82 [ 0001 [] 't' 00 ]", "e0 00", "f0 00", "20 02 00 00"}) {
    TestClient c(*this, V5);
    c.send(packet);
    CHECK(c.closed);
    CHECK(c.received_bytes().empty());
  }
  CHECK(count(Counter::protocol_errors) == 6);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: bytes that are no packet are the end, whatever follows") {
  for (const char* garbage :
       {"00 00", "16 03 01 02 00 01 00 01 fc 03 03", "10 ff ff ff ff 01", "\"GET / HTTP/1.1\" 20*80"}) {
    TestClient c(*this, V311);
    c.send(garbage);
    c.send("10 [ 'MQTT' 04 02 0000 'c' ]");
    CHECK(c.closed);
    CHECK(host.calls == Lines{"closed with will"});
    host.calls.clear();
  }
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a CONNECT of more than 400 KB is refused by its header alone") {
  TestClient c(*this, V311);
  c.send("10 80 80 20");  // 512 KiB
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: after CONNECT the packet limit is the configured one") {
  TestClient c(*this, V311);
  c.connect();
  c.send_bytes(TestClient::bytes("30 [ 't' 61*600000 ]"));
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a second CONNECT is a protocol error") {
  TestClient c(*this, V5);
  c.connect();
  c.send_connect();
  CHECK(c.received() == Lines{"DISCONNECT \"Protocol Error\" {reason string=\"second CONNECT\"}"});
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: MQTT 3 is closed without a packet it would not know") {
  TestClient c(*this, V311);
  c.connect();
  c.send_connect();
  CHECK(c.received_bytes().empty());
  CHECK(c.closed);
}

// --- waiting for the claim ---

TEST_CASE_FIXTURE(ClientWorld, "connect: while the claim waits nothing is read, and what came is handled after it") {
  host.claim_waits = true;
  TestClient c(*this, V311);
  c.send("10 [ 'MQTT' 04 02 0000 'c' ] 30 [ 't' \"one\" ] 30 06 't' \"t\"");
  CHECK_FALSE(c.reading);
  CHECK(c.received().empty());
  c.send("\"wo\"");
  host.calls.clear();
  host.grant(*c.client);
  CHECK(c.received() == Lines{"CONNACK \"Success\""});
  CHECK(c.reading);
  CHECK(host.calls == Lines{"publish t \"one\" qos=0", "publish t \"two\" qos=0"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: after a claim that waited the client is read from again") {
  host.claim_waits = true;
  TestClient c(*this, V311);
  c.send_connect();
  host.grant(*c.client);
  c.received();  // CONNACK is on its way
  CHECK(c.reading);
}

TEST_CASE_FIXTURE(ClientWorld, "connect: what came with CONNECT is handled behind what the session resends") {
  host.claim_waits = true;
  host.make_session("c").expiry_interval = 1;
  host.session->deliver(support::delivery("queued", 1));
  TestClient c(*this, V311);
  c.send("10 [ 'MQTT' 04 00 0000 'c' ] c0 00");
  host.grant(*c.client, true);
  CHECK(c.received() ==
        Lines{"CONNACK session_present \"Success\"", "PUBLISH qos=1 id=1 topic=\"t\" payload=\"queued\"", "PINGRESP"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: a client that goes while its claim waits is closed once") {
  host.claim_waits = true;
  TestClient c(*this, V311);
  c.send_connect();
  c.client->on_transport_closed();
  c.client->on_transport_closed();
  CHECK(host.calls == Lines{"claim c clean expiry=0", "closed with will"});
}

TEST_CASE_FIXTURE(ClientWorld, "connect: superseded by a newer CONNECT, MQTT 5 is told so behind its CONNACK") {
  host.claim_waits = true;
  TestClient c(*this, V5);
  c.send_connect();
  c.client->on_superseded();
  CHECK(c.received() == Lines{"CONNACK \"Success\"",
                              "DISCONNECT \"Session taken over\" "
                              "{reason string=\"another connection uses this client id\"}"});
  CHECK(c.closed);
  CHECK(host.calls.back() == "closed taken over");
  TestClient old(*this, V311);
  old.send_connect();
  old.client->on_superseded();
  CHECK(old.received_bytes().empty());
  CHECK(count(Counter::takeovers) == 2);
}

}  // namespace connection
