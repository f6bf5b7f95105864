// Which filters the other workers are told of, and how long they hold (contract C5).
#include "worker/broker/interest.h"

#include "tests/support/broker_world.h"

using bus::FrameType;
using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;
using support::ScriptedPeer;

namespace {

// How many frames of this type are among them.
size_t count(const Lines& frames, FrameType type) {
  const std::string head = std::to_string(static_cast<int>(type));
  size_t n = 0;
  for (const std::string& line : frames) n += line.starts_with(head + " ") || line.starts_with(head + "!");
  return n;
}

struct Fixture {
  Fixture() : peer(world) {
    peer.send(FrameType::sync_end);
    REQUIRE(peer.run());
    for (BrokerClient* client : {&a, &b}) {
      client->connect(world.at_home(0, client == &a ? "a" : "b"));
      client->received();
    }
    REQUIRE(peer.run());
    peer.frames();
  }
  size_t routes() {
    REQUIRE(peer.run());
    return count(peer.frames(), FrameType::route);
  }
  BrokerWorld world{2, {.mqtt = {}, .started = 1}};
  ScriptedPeer peer;
  BrokerClient a{world, 0}, b{world, 0};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "interest: a filter is announced with its first subscriber and withdrawn with its last") {
  a.subscribe("t/#");
  CHECK(routes() == 1);
  b.subscribe("t/#");
  CHECK(routes() == 0);
  a.unsubscribe("t/#");
  CHECK(routes() == 0);
  b.drop();
  CHECK(routes() == 1);
}

TEST_CASE_FIXTURE(Fixture, "interest: a subscription that is replaced is not announced again") {
  a.subscribe("t/#", 0);
  CHECK(routes() == 1);
  a.subscribe("t/#", 2);
  CHECK(routes() == 0);
}

TEST_CASE_FIXTURE(Fixture, "interest: every change of a group's members is told") {
  a.subscribe("$share/g/t");
  REQUIRE(peer.run());
  CHECK(count(peer.frames(), FrameType::share) == 1);
  b.subscribe("$share/g/t");
  REQUIRE(peer.run());
  CHECK(count(peer.frames(), FrameType::share) == 1);
  a.drop();
  REQUIRE(peer.run());
  CHECK(count(peer.frames(), FrameType::share) >= 1);
}

TEST_CASE("interest: overlapping subscriptions across workers give one copy each") {
  BrokerWorld world(2);
  BrokerClient pub(world, 0), sub(world, 1);
  pub.connect("pub");
  sub.connect("sub");
  sub.subscribe("t/+", 0);
  sub.subscribe("t/#", 1);
  sub.received();
  pub.publish("t/x", "hi", 1);
  CHECK(sub.received() == Lines{"PUBLISH qos=1 id=1 topic=\"t/x\" payload=\"hi\""});
}

TEST_CASE("interest: what a dead worker wanted nobody wants") {
  BrokerWorld world(3);
  BrokerClient pub(world, 0), sub(world, 1);
  pub.connect(world.at_home(0, "pub"));
  sub.connect(world.at_home(1, "sub"));
  sub.subscribe("t", 1);
  pub.received();
  world.kill(1);
  world.run();
  pub.publish("t", "hi", 1);
  CHECK(pub.received() == Lines{"PUBACK id=1 \"No matching subscribers\""});
}

TEST_CASE("interest: UNSUBSCRIBE ends it at every worker") {
  BrokerWorld world(2);
  BrokerClient pub(world, 0), sub(world, 1);
  pub.connect("pub");
  sub.connect("sub");
  sub.subscribe("t", 1);
  sub.unsubscribe("t");
  sub.received();
  pub.received();
  pub.publish("t", "hi", 1);
  CHECK(pub.received() == Lines{"PUBACK id=1 \"No matching subscribers\""});
  CHECK(sub.received().empty());
}
