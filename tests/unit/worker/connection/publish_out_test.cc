// PUBLISH to the client: bytes, aliases, sizes, expiry, and the encoding that receivers share. [MQTT5 3.3]
#include <doctest/doctest.h>

#include "proto/codec.h"
#include "shared/base/random.h"
#include "tests/support/client_world.h"

namespace connection {
namespace {

using metrics::Counter;
using Sent = session::Outlet::Sent;
using support::ClientWorld;
using support::delivery;
using support::Lines;
using support::message;
using support::TestClient;
using support::V31;
using support::V311;
using support::V5;

// A client that connected with these properties.
struct Receiver : TestClient {
  Receiver(ClientWorld& world, proto::ProtocolVersion version, std::string_view properties = "")
      : TestClient(world, version) {
    connect(properties);
    scheduled = false;
  }
};

}  // namespace

TEST_CASE_FIXTURE(ClientWorld, "publish out: QoS, packet id, DUP and retain stand where they must") {
  Receiver c(*this, V5);
  session::Delivery one = delivery(message({.topic = "a/b", .payload = "hi"}), 1);
  one.retain = true;
  CHECK(c.deliver(one, 7, true) == Sent::yes);
  CHECK(c.scheduled);
  CHECK(c.received_bytes() == TestClient::bytes("3b [ 'a/b' 0007 [] \"hi\" ]"));
  CHECK(count(Counter::publish_sent) == 1);
  CHECK(count(Counter::publish_sent_bytes) == 2);
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: MQTT 3.1.1 gets no properties") {
  Receiver c(*this, V311);
  const std::string block = TestClient::bytes("26 'k' 'v'");
  session::Delivery one = delivery(message({.expires_at = clock.now_ms() + 1000, .properties = block}), 1);
  one.ids.add(5);
  c.deliver(one, 1);
  CHECK(c.received_bytes() == TestClient::bytes("32 [ 't' 0001 \"hi\" ]"));
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: MQTT 5 gets the publisher's properties as they came, in their order") {
  Receiver c(*this, V5);
  const std::string block = TestClient::bytes("26 'b' '1' 03 'text' 26 'a' '2' 09 {00ff} 26 'b' '1'");
  c.deliver(delivery(message({.properties = block}), 0));
  CHECK(c.received_bytes() ==
        TestClient::bytes("30 [ 't' [ 26 'b' '1' 03 'text' 26 'a' '2' 09 {00ff} 26 'b' '1' ] \"hi\" ]"));
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: all subscription identifiers of the delivery are there") {
  Receiver c(*this, V5);
  session::Delivery one = delivery("hi", 0);
  one.ids.add(7);
  one.ids.add(300);
  c.deliver(one);
  CHECK(c.received() == Lines{"PUBLISH qos=0 topic=\"t\" {subscription identifier=7, subscription identifier=300} "
                              "payload=\"hi\""});
}

// --- expiry ---

TEST_CASE_FIXTURE(ClientWorld, "publish out: the message expiry is what is left, rounded up") {
  Receiver c(*this, V5);
  const bus::MessageRef m = message({.expires_at = clock.now_ms() + 10'000});
  struct Row {
    base::MonoMs later;
    int left;
  };
  for (const Row& row : {Row{0, 10}, Row{1, 10}, Row{999, 9}, Row{1, 9}, Row{7'999, 1}, Row{999, 1}}) {
    advance(row.later);
    c.deliver(delivery(m, 0));
    CHECK(c.received() ==
          Lines{"PUBLISH qos=0 topic=\"t\" {message expiry interval=" + std::to_string(row.left) + "} payload=\"hi\""});
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: sent again after its expiry, it says 0") {
  Receiver c(*this, V5);
  const bus::MessageRef m = message({.expires_at = clock.now_ms() + 1'000});
  advance(5'000);
  c.deliver(delivery(m, 1), 1, true);
  CHECK(c.received() == Lines{"PUBLISH qos=1 dup id=1 topic=\"t\" {message expiry interval=0} payload=\"hi\""});
}

// --- topic aliases ---

TEST_CASE_FIXTURE(ClientWorld,
                  "publish out: a topic gets an alias with its first message, then the alias stands alone") {
  Receiver c(*this, V5, "22 0001");
  for (const char* topic : {"a", "a", "b", "a"}) c.deliver(delivery(message({.topic = topic}), 0));
  CHECK(c.received() == Lines{"PUBLISH qos=0 topic=\"a\" {topic alias=1} payload=\"hi\"",
                              "PUBLISH qos=0 topic=\"\" {topic alias=1} payload=\"hi\"",
                              "PUBLISH qos=0 topic=\"b\" payload=\"hi\"",
                              "PUBLISH qos=0 topic=\"\" {topic alias=1} payload=\"hi\""});
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: no more aliases than the smaller one of both limits") {
  config.topic_alias_max = 2;
  struct Row {
    const char* properties;
    int aliases;
  };
  for (const Row& row : {Row{"", 0}, Row{"22 0000", 0}, Row{"22 0001", 1}, Row{"22 ffff", 2}}) {
    Receiver c(*this, V5, row.properties);
    for (const char* topic : {"a", "b", "c"}) c.deliver(delivery(message({.topic = topic}), 0));
    int aliases = 0;
    for (const std::string& line : c.received()) aliases += line.find("topic alias") != std::string::npos;
    CHECK(aliases == row.aliases);
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: a message that was too large has taught the client no alias") {
  Receiver c(*this, V5, "22 0005 27 00000014");
  CHECK(c.deliver(delivery(message({.topic = "a", .payload = std::string(50, 'x')}), 0)) == Sent::too_large);
  CHECK(c.deliver(delivery(message({.topic = "a"}), 0)) == Sent::yes);
  CHECK(c.received() == Lines{"PUBLISH qos=0 topic=\"a\" {topic alias=1} payload=\"hi\""});
}

// --- the client's maximum packet size ---

TEST_CASE_FIXTURE(ClientWorld, "publish out: what is larger than the client takes is not sent, to the byte") {
  const std::string packet = TestClient::bytes("30 [ 't' [] \"hi\" ]");
  for (const int over : {-1, 0, 1}) {
    char property[16];
    std::snprintf(property, sizeof property, "27 %08x", static_cast<unsigned>(static_cast<int>(packet.size()) + over));
    // Such a small client could not even be sent a CONNACK with properties.
    config.receive_maximum = 65535;
    config.topic_alias_max = 0;
    Receiver c(*this, V5, property);
    CHECK((c.deliver(delivery("hi", 0)) == Sent::yes) == (over >= 0));
    CHECK(c.received_bytes() == (over >= 0 ? packet : ""));
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: the size limit holds for a shared encoding too") {
  Receiver wide(*this, V5);
  Receiver narrow(*this, V5, "27 00000020");
  const bus::MessageRef m = message({.payload = std::string(100, 'x')});
  CHECK(wide.deliver(delivery(m, 0)) == Sent::yes);
  CHECK(narrow.deliver(delivery(m, 0)) == Sent::too_large);
  CHECK(narrow.received_bytes().empty());
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: MQTT 3 takes packets as large as the protocol allows, no larger") {
  Receiver c(*this, V311);
  const std::string huge(proto::kMaxVariableByteInteger - 2, 'x');
  CHECK(c.deliver(delivery(message({.topic = "t", .payload = huge}), 0)) == Sent::too_large);
}

// --- payloads by reference ---

TEST_CASE_FIXTURE(ClientWorld, "publish out: a large payload is the same bytes, whole, and then forgotten") {
  Receiver c(*this, V5);
  for (const size_t size : {2047u, 2048u, 100'000u}) {
    std::string payload(size, 'x');
    payload.back() = 'y';
    c.deliver(delivery(message({.payload = payload}), 1), 1);
    const std::string raw = c.received_bytes();
    CHECK(raw == TestClient::bytes("32 [ 't' 0001 [] 78*" + std::to_string(size - 1) + " 79 ]"));
  }
}

// --- one encoding for all receivers at QoS 0 ---

TEST_CASE_FIXTURE(ClientWorld,
                  "publish out: whatever was encoded before, every receiver gets what it would get alone") {
  const std::string block = TestClient::bytes("26 'k' 'v'");
  const bus::MessageRef messages[] = {message({.payload = "one"}), message({.payload = "two", .properties = block}),
                                      message({.payload = "gone soon", .expires_at = clock.now_ms() + 5'000}),
                                      message({.payload = std::string(3000, 'x')})};
  Receiver receivers[] = {{*this, V31}, {*this, V311}, {*this, V5}, {*this, V5, "22 0002"}, {*this, V311}, {*this, V5}};
  base::Random random(11);
  for (int step = 0; step < 2000; ++step) {
    session::Delivery one = delivery(messages[random.below(4)], static_cast<int>(random.below(2)));
    one.retain = random.one_in(3);
    if (random.one_in(4)) one.ids.add(9);
    Receiver& c = receivers[random.below(6)];
    const auto id = static_cast<uint16_t>(one.qos == proto::QoS::at_most_once ? 0 : 5);
    c.deliver(one, id);
    const std::string shared_bytes = c.received_bytes();
    context.encoded = {};
    c.deliver(one, id);
    // Its first message may have taught this client an alias; then the second one is shorter, and the third is like it.
    const std::string fresh = c.received_bytes();
    if (&c != &receivers[3]) REQUIRE(shared_bytes == fresh);
    if (random.one_in(2)) c.deliver(one, id);
    c.received_bytes();
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: fan-out to every version, each gets its own bytes") {
  Receiver old(*this, V311), fresh(*this, V5), older(*this, V31), second(*this, V5);
  const bus::MessageRef m = message({.topic = "a/b", .payload = "hi"});
  for (TestClient* c : {static_cast<TestClient*>(&old), static_cast<TestClient*>(&fresh),
                        static_cast<TestClient*>(&older), static_cast<TestClient*>(&second)}) {
    c->deliver(delivery(m, 0));
  }
  CHECK(old.received_bytes() == TestClient::bytes("30 [ 'a/b' \"hi\" ]"));
  CHECK(older.received_bytes() == TestClient::bytes("30 [ 'a/b' \"hi\" ]"));
  CHECK(fresh.received_bytes() == TestClient::bytes("30 [ 'a/b' [] \"hi\" ]"));
  CHECK(second.received_bytes() == TestClient::bytes("30 [ 'a/b' [] \"hi\" ]"));
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: another message at the same place in memory is another message") {
  Receiver c(*this, V311);
  for (const char* payload : {"one", "two", "six"}) {
    c.deliver(delivery(payload, 0));
    CHECK(c.received() == Lines{std::string("PUBLISH qos=0 topic=\"t\" payload=\"") + payload + '"'});
  }
}

// --- the session's other words ---

TEST_CASE_FIXTURE(ClientWorld, "publish out: PUBREL is four bytes in every version") {
  for (const auto version : {V31, V311, V5}) {
    Receiver c(*this, version);
    c.client->send_pubrel(0x1234);
    CHECK(c.received_bytes() == TestClient::bytes("62 02 1234"));
  }
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: backlog is what waits for the socket") {
  Receiver c(*this, V311);
  CHECK(c.client->backlog() == 0);
  c.deliver(delivery("hi", 0));
  CHECK(c.client->backlog() == 7);
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: a client whose queue is full is closed at the end of the turn") {
  Receiver c(*this, V5);
  c.client->on_queue_full();
  CHECK_FALSE(c.closed);
  CHECK(host.calls.back() == "close_later \"Quota exceeded\" queue full");
}

TEST_CASE_FIXTURE(ClientWorld, "publish out: the client's receive maximum is the session's window") {
  Receiver all(*this, V311), three(*this, V5, "21 0003");
  CHECK(all.client->receive_maximum() == 65535);
  CHECK(three.client->receive_maximum() == 3);
}

}  // namespace connection
