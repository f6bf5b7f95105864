// Bytes in any pieces, back-pressure, and packets that a client may not send. [MQTT5 4.8, 4.13], contract C9
#include <doctest/doctest.h>

#include "shared/base/random.h"
#include "tests/support/client_world.h"

namespace connection {
namespace {

using metrics::Counter;
using support::ClientWorld;
using support::delivery;
using support::Lines;
using support::TestClient;
using support::V311;
using support::V5;

// A whole conversation, and what the broker and the client see of it.
const char* const kConversation =
    "10 [ 'MQTT' 05 02 003c [ 11 0000000a ] 'c' ] 82 [ 0001 [] 't' 01 ] 30 [ 't' [] \"m0\" ] "
    "32 [ 't' 0002 [ 26 'k' 'v' ] 61*300 ] 34 [ 't' 0003 [] 30 03 00 01 61 ] 62 [ 0003 ] c0 00 a2 [ 0004 [] 't' ] e0 "
    "00";

struct Seen {
  Lines calls;
  std::string bytes;
  bool operator==(const Seen&) const = default;
};

Seen converse(const std::function<size_t()>& piece) {
  ClientWorld world;
  TestClient c(world, V5);
  Seen seen;
  const std::string all = TestClient::bytes(kConversation);
  for (size_t at = 0; at < all.size();) {
    const std::string part = all.substr(at, piece());
    c.send_bytes(part);
    at += part.size();
    if (!c.closed) seen.bytes += c.received_bytes();
  }
  seen.bytes += c.received_bytes();
  seen.calls = world.host.calls;
  CHECK(world.host.partial == 0);
  return seen;
}

struct Connected : ClientWorld {
  TestClient c{*this, V5};
  Connected() {
    c.connect();
    host.calls.clear();
  }
};

}  // namespace

// --- bytes in any pieces ---

TEST_CASE("flow: a conversation is the same whole, byte by byte, split anywhere and in random pieces") {
  const Seen whole = converse([] { return size_t{100'000}; });
  CHECK(whole.calls.size() == 7);
  CHECK(whole.calls.back() == "closed clean");
  CHECK(converse([] { return size_t{1}; }) == whole);
  for (size_t split = 1; split < TestClient::bytes(kConversation).size(); split += 7) {
    size_t next = split;
    REQUIRE(converse([&] { return std::exchange(next, 100'000); }) == whole);
  }
  base::Random random(3);
  for (int i = 0; i < 50; ++i) REQUIRE(converse([&] { return 1 + random.below(50); }) == whole);
}

// --- back-pressure from the broker ---

TEST_CASE_FIXTURE(Connected, "flow: paused, nothing more is handled nor read; resumed, all of it is, in order") {
  host.pause_on_publish = true;
  c.send("30 [ 't' [] \"1\" ] 30 [ 't' [] \"2\" ] 30 [ 't' [] \"3\" ]");
  CHECK(host.calls == Lines{"publish t \"1\" qos=0"});
  CHECK_FALSE(c.reading);
  c.send("30 [ 't' [] \"4\" ]");  // was on its way
  host.pause_on_publish = false;
  c.client->resume();
  CHECK(host.calls ==
        Lines{"publish t \"1\" qos=0", "publish t \"2\" qos=0", "publish t \"3\" qos=0", "publish t \"4\" qos=0"});
  CHECK(c.reading);
}

TEST_CASE_FIXTURE(Connected, "flow: the turn's budget used up, the rest waits for the next turn") {
  context.budget = 0;
  c.send("c0 00 c0 00 c0 00");
  CHECK(c.received() == Lines{"PINGRESP"});
  CHECK(host.deferred.size() == 1);
  context.budget = 1000;
  c.client->continue_parsing();
  CHECK(c.received() == Lines{"PINGRESP", "PINGRESP"});
}

TEST_CASE_FIXTURE(Connected, "flow: resumed and paused again by the next packet") {
  host.pause_on_publish = true;
  c.send("30 [ 't' [] \"1\" ] 30 [ 't' [] \"2\" ] 30 [ 't' [] \"3\" ]");
  for (const size_t handled : {2u, 3u}) {
    c.client->resume();
    CHECK(host.calls.size() == handled);
    CHECK_FALSE(c.reading);
  }
  c.client->resume();
  CHECK(c.reading);
}

TEST_CASE_FIXTURE(Connected, "flow: paused between packets, half a packet is kept") {
  c.send("30 06 't' 00");
  c.client->pause();
  CHECK_FALSE(c.reading);
  c.send("\"h\"");
  c.client->resume();
  c.send("\"i\"");
  CHECK(host.calls == Lines{"publish t \"hi\" qos=0"});
}

TEST_CASE_FIXTURE(Connected, "flow: paused, what the broker sends still goes out") {
  c.client->pause();
  host.session->deliver(delivery("m", 0));
  CHECK(c.received().size() == 1);
}

TEST_CASE_FIXTURE(Connected, "flow: paused and closed by its peer, what was not handled is dropped") {
  host.pause_on_publish = true;
  c.send("30 [ 't' [] \"1\" ] 30 [ 't' [] \"2\" ]");
  c.client->on_transport_closed();
  c.client->resume();
  CHECK(host.calls == Lines{"publish t \"1\" qos=0", "closed with will"});
}

// --- a client that does not read its answers ---

TEST_CASE_FIXTURE(ClientWorld, "flow: a client that does not read its answers is not read from, until it does") {
  config.max_queued_bytes = 1000;
  TestClient c(*this, V311);
  c.connect();
  std::string pings;
  for (int i = 0; i < 600'000; ++i) pings += TestClient::bytes("c0 00");
  c.send_bytes(pings);
  CHECK_FALSE(c.reading);
  CHECK(c.client->backlog() < (1 << 20) + 2000);
  size_t answers = 0;
  for (size_t got = 1; got != 0; answers += got) got = c.received_bytes().size() / 2;
  CHECK(answers == 600'000);
  CHECK(c.reading);
}

TEST_CASE_FIXTURE(ClientWorld, "flow: what waits in the session goes out as the client reads") {
  TestClient c(*this, V311);
  c.connect("", "00");
  const std::string large(600'000, 'x');
  for (int i = 0; i < 6; ++i) host.session->deliver(delivery(large, 1));
  CHECK(host.session->queue().size() == 4);
  size_t packets = 0;
  for (size_t got = 1; got != 0; packets += got) got = c.received().size();
  CHECK(packets == 6);
}

// --- partly received packets ---

TEST_CASE_FIXTURE(ClientWorld, "flow: partly received packets are counted for all clients, and the count comes back") {
  TestClient a(*this, V311), b(*this, V311);
  a.connect();
  b.connect();
  a.send("30 [ 't' ] 30 e8 07 61*100");
  b.send("30 e8 07 61*50");
  CHECK(host.partial >= 150);
  CHECK(host.partial < 4000);
  a.send("61*900");
  const uint64_t of_b = host.partial;
  CHECK(of_b >= 50);
  b.client->on_transport_closed();
  CHECK(host.partial == 0);
}

TEST_CASE_FIXTURE(ClientWorld, "flow: over the bound of partly received packets, the one that grew is closed") {
  config.max_partial_bytes = 10'000;
  TestClient a(*this, V5), b(*this, V5);
  a.connect();
  b.connect();
  a.send("30 80 80 40 61*8000");
  b.send("30 80 80 40 61*8000");
  CHECK_FALSE(a.closed);
  CHECK(b.received() == Lines{"DISCONNECT \"Quota exceeded\" {reason string=\"too many partly received packets\"}"});
  CHECK(b.closed);
  CHECK(host.partial <= 10'000);
}

TEST_CASE_FIXTURE(ClientWorld, "flow: the maximum packet size holds by the header alone") {
  config.max_packet_size = 100;
  TestClient c(*this, V5);
  c.connect();
  c.send("30 61");  // 97 bytes follow: 99 in all
  c.send("'t' 00 61*93");
  CHECK_FALSE(c.closed);
  c.send("30 63");
  CHECK(c.received() == Lines{"DISCONNECT \"Packet too large\" {reason string=\"packet too large\"}"});
  CHECK(host.partial == 0);
}

// --- packets that a client may not send ---

TEST_CASE_FIXTURE(ClientWorld, "flow: packets only a server sends, AUTH, and bytes that are none") {
  struct Row {
    const char* bytes;
    const char* reason;
  };
  const Row rows[] = {
      {"20 [ 00 00 [] ]", "Protocol Error"},    // CONNACK
      {"90 [ 0001 [] 00 ]", "Protocol Error"},  // SUBACK
      {"b0 [ 0001 [] 00 ]", "Protocol Error"},  // UNSUBACK
      {"d0 00", "Protocol Error"},              // PINGRESP
      {"f0 [ 18 [] ]", "Protocol Error"},       // AUTH without a method in CONNECT
      {"00 00", "Malformed Packet"},
      {"c0 ff ff ff ff 01", "Malformed Packet"},  // a remaining length of five bytes
      {"c0 01 00", "Malformed Packet"},           // PINGREQ with a body
      {"c1 00", "Malformed Packet"},              // reserved flags
      {"60 [ 0001 ]", "Malformed Packet"},        // PUBREL without its flag
      {"80 [ 0001 [] 't' 00 ]", "Malformed Packet"},
  };
  for (const Row& row : rows) {
    for (const auto version : {V311, V5}) {
      TestClient c(*this, version);
      c.connect();
      c.send(row.bytes);
      CHECK(c.closed);
      const Lines told = c.received();
      if (version == V311) CHECK(told.empty());
      if (version == V5) {
        REQUIRE(told.size() == 1);
        CHECK_MESSAGE(told[0].starts_with(std::string("DISCONNECT \"") + row.reason + '"'), row.bytes << told[0]);
      }
    }
  }
}

TEST_CASE_FIXTURE(ClientWorld,
                  "flow: random bytes, before and after CONNECT, end in a closed connection or in nothing") {
  base::Random random(5);
  for (int round = 0; round < 3000; ++round) {
    TestClient c(*this, random.one_in(2) ? V311 : V5);
    if (!random.one_in(4)) c.connect();
    for (int i = 0; i < 5; ++i) {
      std::string raw(random.below(60), '\0');
      for (char& byte : raw) byte = static_cast<char>(random.below(random.one_in(3) ? 256 : 64));
      c.send_bytes(raw);
    }
  }
  CHECK(host.partial == 0);
}

TEST_CASE_FIXTURE(ClientWorld, "flow: a conversation with one byte changed does no harm") {
  base::Random random(6);
  const std::string whole = TestClient::bytes(kConversation);
  for (int round = 0; round < 3000; ++round) {
    std::string changed = whole;
    changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    TestClient c(*this, V5);
    c.send_bytes(changed.substr(0, random.below(changed.size())));
  }
  CHECK(host.partial == 0);
}

}  // namespace connection
