// What other hosts want, in worker 0's store; the test is the gateway. The bytes of the frames: a change needs a new
// kBusVersion.
#include "worker/broker/far_interest.h"

#include <algorithm>

#include "shared/store/record.h"
#include "tests/support/broker_world.h"
#include "tests/support/dialect.h"

using bus::FrameType;
using bus::kAckSoon;
using support::BrokerWorld;
using support::Lines;
using support::number;
using support::ScriptedPeer;
using support::text;

namespace {

std::string route(bool wanted, const std::string& filter) {
  return number(wanted, 1) + "01" + text(filter);  // durable
}

std::string share(uint32_t live, uint32_t offline, const std::string& group, const std::string& filter) {
  return number(live, 4) + number(offline, 4) + text(group) + text(filter);
}

// The only worker of the host; slot 1 is its gateway.
struct Fixture {
  BrokerWorld world{1, {.mqtt = {}, .clustered = true}};
  std::unique_ptr<ScriptedPeer> gateway = std::make_unique<ScriptedPeer>(world);

  Fixture() { synced(); }
  void synced() {
    gateway->send(FrameType::sync_end);
    run();
  }
  void run() { REQUIRE(gateway->run()); }
  void told(FrameType type, const std::string& body) {
    gateway->send(type, body);
    run();
  }
  bool stores(const std::string& name) {
    std::string key;
    store::meta_key(key, name);
    return world.disk(0).contains(key);
  }
  // Of those that have come since the last call.
  size_t count(const std::string& frame) {
    run();
    const Lines frames = gateway->frames();
    return static_cast<size_t>(std::count(frames.begin(), frames.end(), frame));
  }
  size_t answers(uint64_t mark) { return count(ScriptedPeer::frame(FrameType::marked, number(mark), kAckSoon)); }
  // All processes of the host die; a gateway is there again that has not told anything.
  void restart() {
    gateway.reset();
    world.kill(0);
    world.start(0);
    gateway = std::make_unique<ScriptedPeer>(world, 1, 8);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "far_interest: what the gateway wants is in the store while it wants it") {
  told(FrameType::route, route(true, "a/+"));
  told(FrameType::share, share(1, 0, "g", "b/#"));
  CHECK(stores("route/a/+"));
  CHECK(stores("share/g/b/#"));
  told(FrameType::share, share(0, 3, "g", "b/#"));
  CHECK(stores("share/g/b/#"));
  told(FrameType::route, route(false, "a/+"));
  told(FrameType::share, share(0, 0, "g", "b/#"));
  CHECK_FALSE(stores("route/a/+"));
  CHECK_FALSE(stores("share/g/b/#"));
}

TEST_CASE_FIXTURE(Fixture, "far_interest: a gateway after the death of all is told what its predecessor had said") {
  SUBCASE("routes") {
    told(FrameType::route, route(true, "a/+"));
    told(FrameType::route, route(true, "gone"));
    told(FrameType::route, route(false, "gone"));
    restart();
    run();
    const Lines frames = gateway->frames();
    auto is_told = [&](const std::string& frame) { return std::count(frames.begin(), frames.end(), frame) == 1; };
    CHECK(is_told(ScriptedPeer::frame(FrameType::predecessor, "", kAckSoon)));
    CHECK(is_told(ScriptedPeer::frame(FrameType::predecessor_route, route(true, "a/+"))));
    CHECK_FALSE(is_told(ScriptedPeer::frame(FrameType::predecessor_route, route(true, "gone"))));
  }
  SUBCASE("groups, also if there is nothing else") {
    told(FrameType::share, share(2, 1, "g", "b/#"));
    restart();
    run();
    const Lines frames = gateway->frames();
    CHECK(std::count(frames.begin(), frames.end(), ScriptedPeer::frame(FrameType::predecessor, "", kAckSoon)) == 1);
    CHECK(std::count(frames.begin(), frames.end(),
                     ScriptedPeer::frame(FrameType::predecessor_share, share(0, 1, "g", "b/#"))) == 1);
  }
}

TEST_CASE_FIXTURE(Fixture, "far_interest: what is not told again is forgotten when all has been told") {
  told(FrameType::route, route(true, "old"));
  told(FrameType::route, route(true, "both"));
  told(FrameType::share, share(1, 0, "g", "old"));
  restart();
  told(FrameType::route, route(true, "both"));
  CHECK(stores("route/old"));
  CHECK(stores("share/g/old"));
  synced();
  CHECK(stores("route/both"));
  CHECK_FALSE(stores("route/old"));
  CHECK_FALSE(stores("share/g/old"));
}

TEST_CASE_FIXTURE(Fixture, "far_interest: a mark of the gateway is answered when what came before it is stored") {
  told(FrameType::mark, number(1));
  CHECK(answers(1) == 1);  // nothing to store
  told(FrameType::mark, number(1));
  CHECK(answers(1) == 1);
  world.set_slow(0);
  told(FrameType::route, route(true, "a"));
  told(FrameType::mark, number(2));
  told(FrameType::mark, number(3));
  CHECK(answers(3) == 0);
  CHECK_FALSE(stores("route/a"));
  world.set_well(0);
  run();
  CHECK(stores("route/a"));
  CHECK(answers(3) == 1);
}

TEST_CASE_FIXTURE(Fixture, "far_interest: a store that can write nothing is not waited for") {
  world.set_full(0);
  told(FrameType::route, route(true, "a"));
  told(FrameType::mark, number(2));
  CHECK(answers(2) == 0);
  for (int i = 0; i < 3; ++i) world.pass(1000);
  CHECK(answers(2) == 1);
}

TEST_CASE_FIXTURE(Fixture, "far_interest: a mark of another worker, or another body, is malformed") {
  SUBCASE("too short") {
    gateway->send(FrameType::mark, number(1, 4));
  }
  SUBCASE("too long") {
    gateway->send(FrameType::mark, number(1) + "00");
  }
  CHECK_FALSE(gateway->run());
}

TEST_CASE("far_interest: without a cluster nothing of it is stored, and nobody marks") {
  BrokerWorld world(2, {.mqtt = {}, .started = 1});
  ScriptedPeer peer(world);
  peer.send(FrameType::sync_end);
  peer.send(FrameType::route, route(true, "a"));
  REQUIRE(peer.run());
  CHECK(world.disk(0).lower_bound("") == world.disk(0).end());
  peer.send(FrameType::mark, number(1));
  CHECK_FALSE(peer.run());
}
