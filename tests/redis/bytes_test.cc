// What the network, or somebody in it, may do to the bytes of replies.
#include <doctest/doctest.h>

#include <cstdlib>

#include "shared/base/random.h"
#include "tests/redis/probe.h"

namespace {

using cluster::Status;
using test::Probe;
using test::RedisServer;
using test::RedisWorld;

redis::RedisHub::Options quick() {
  redis::RedisHub::Options options;
  options.block_ms = 50;
  options.max_pause_ms = 10;
  return options;
}

// A few calls of every kind; all of them complete.
void call_everything(Probe& a, uint64_t number) {
  size_t open = 0;
  const auto done = [&](Status, auto...) { --open; };
  ++open, a.hub.renew(60'000, done);
  ++open, a.hub.send(a.key, number, "frames", done);
  ++open, a.hub.read(a.key, 0, 1000, done);
  ++open, a.hub.trim(1, done);
  ++open, a.hub.claim("c", 0, done);
  ++open, a.hub.hold("c", 1, done);
  ++open, a.hub.holder("c", done);
  ++open, a.hub.retain("t", "v", 0, done);
  ++open, a.hub.changes(0, done);
  ++open, a.hub.snapshot(0, done);
  ++open, a.hub.read_copy(a.key, 0, done);
  ++open, a.hub.adopt("b.1", 1000, 1000, done);
  ++open, a.hub.mine(0, done);
  ++open, a.hub.begin_copy(0, number, done);
  a.hub.datagram(a.key, "x");
  REQUIRE(a.until([&] { return open == 0; }));
}

TEST_CASE("redis_hub: a connection may be cut after any byte of a reply") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  uint64_t cuts = 0;
  // The last ones cut into the greeting of the connections that are made anew.
  for (size_t bytes = 1; bytes < 4000; bytes += bytes < 300 ? 3 : 61) {
    const int before = a.ups;
    a.proxy().cut_after(bytes);
    call_everything(a, 1);
    while (a.proxy().will_cut() && a.ups == before) call_everything(a, 1);
    REQUIRE(a.until([&] { return a.hub.up() && a.ups == a.downs + 1; }));
    if (a.ups > before) ++cuts;
  }
  CHECK(cuts > 100);
  a.proxy().cut_after(SIZE_MAX);
  REQUIRE(a.until([&] { return a.renew().status == Status::ok; }));
  CHECK(a.send(a.key, 1) == Status::ok);
  CHECK(a.read(a.key).value.size() == 1);  // sent some hundred times
}

TEST_CASE("redis_hub: a reply that is none breaks the connection") {
  const std::string garbage[] = {
      "garbage\r\n",
      std::string("\0\0\0\0\0\0\0\0", 8),
      "$-7\r\n",
      "$99999999999999999999\r\n",
      "*2000000000\r\n:1\r\n",
      "*-2\r\n",
      "+OK\r\n",
      ":0\r\n",
      "$-1\r\n",
      "*0\r\n",
      "*-1\r\n",
      "*1\r\n:7\r\n",
      "*1\r\n:-1\r\n",
      "*1\r\n$1\r\n0\r\n",
      "*1\r\n:0\r\n",
      "*2\r\n:0\r\n:0\r\n",
      "*3\r\n:0\r\n$2\r\n-1\r\n$0\r\n\r\n",
      "*3\r\n:0\r\n$20\r\n99999999999999999999\r\n$0\r\n\r\n",
      "*3\r\n:0\r\n$1\r\nx\r\n$0\r\n\r\n",
      "*3\r\n:0\r\n$1\r\n5\r\n*0\r\n",
      "*4\r\n:0\r\n$1\r\n5\r\n$0\r\n\r\n$0\r\n\r\n",
      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
      std::string(100'000, '+'),
  };
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  for (const std::string& bytes : garbage) {
    INFO("instead of the reply: ", bytes.substr(0, 100));
    const int before = a.ups;
    // The claim's reply alone is not what it should be.
    a.proxy().tamper([&](std::string reply) { return reply.starts_with("*3\r\n:0\r\n$16") ? bytes : reply; });
    CHECK(a.claim("c").status == Status::lost);
    a.proxy().tamper({});
    REQUIRE(a.until([&] { return a.ups == before + 1; }));
    CHECK(a.claim("c").status == Status::ok);
  }
  CHECK(a.hub.statistics().calls.malformed > 10);
}

TEST_CASE("redis_hub: replies that were changed at random do no harm") {
  const char* given = std::getenv("MM_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : base::entropy();
  MESSAGE("MM_SEED=", seed);
  base::Random random(seed);
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  for (int round = 0; round < 60; ++round) {
    a.proxy().tamper([&](std::string reply) {
      if (reply.empty() || !random.one_in(3)) return reply;
      char& c = reply[random.below(reply.size())];
      c = random.one_in(2) ? "$*:+-0123456789\r\n"[random.below(17)] : static_cast<char>(random.next());
      return reply;
    });
    if (a.hub.up()) call_everything(a, 1);
    a.until([&] { return a.hub.up(); }, 200);
    a.proxy().tamper({});
  }
  a.proxy().cut();
  REQUIRE(a.until([&] { return a.hub.up() && a.renew().status == Status::ok; }));
}

}  // namespace
