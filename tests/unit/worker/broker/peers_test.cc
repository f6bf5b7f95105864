// Credit between workers, announcements, and when a worker is ready.
#include "worker/broker/peers.h"

#include "tests/support/broker_world.h"

using metrics::Counter;
using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

constexpr uint64_t kCredit = 8192;

// Worker 1 has a subscriber and does not read.
struct Stopped {
  Stopped() : world(2, {.mqtt = {}, .link_credit = kCredit}), pub(world, 0), sub(world, 1) {
    pub.connect(world.at_home(0, "pub"));
    sub.connect(world.at_home(1, "sub"));
    sub.subscribe("t", 1);
    sub.received();
    pub.received();
    world.hold(0, 1);
  }
  // Publishes until the publisher is not read any more; how many.
  size_t use_up(int qos) {
    size_t n = 0;
    for (; n < 1000 && pub.reading; ++n) pub.publish("t", std::string(100, 'x'), qos);
    return n;
  }
  void go_on() {
    world.hold(0, 1, false);
    world.run();
  }
  BrokerWorld world;
  BrokerClient pub, sub;
};

}  // namespace

TEST_CASE_FIXTURE(Stopped, "peers: without credit QoS 0 is dropped and counted, and its publisher goes on") {
  constexpr size_t kMessages = 1000;
  for (size_t i = 0; i < kMessages; ++i) pub.publish("t", std::string(100, 'x'));
  CHECK(pub.reading);
  const uint64_t dropped = world.count(0, Counter::publish_dropped_bus);
  CHECK(dropped > 0);
  go_on();
  CHECK(sub.payloads().size() + dropped == kMessages);
}

TEST_CASE_FIXTURE(Stopped, "peers: without credit a QoS 1 publisher is not read, and loses nothing") {
  const size_t sent = use_up(1);
  CHECK(sent < 1000);
  CHECK_FALSE(pub.reading);
  CHECK(sent * 100 < 2 * kCredit);
  go_on();
  CHECK(pub.reading);
  CHECK(pub.received().size() == sent);
  size_t arrived = sub.payloads().size();
  for (uint16_t id = 1; id <= sent; ++id) sub.puback(id);
  arrived += sub.payloads().size();
  CHECK(arrived == sent);
  CHECK(world.count(0, Counter::publish_dropped_bus) == 0);
}

TEST_CASE_FIXTURE(Stopped, "peers: who publishes to others does not wait for that worker") {
  use_up(1);
  BrokerClient other(world, 0);
  other.connect(world.at_home(0, "other"));
  other.received();
  other.publish("nobody", "hi", 1);
  CHECK(other.reading);
  CHECK(other.received().size() == 1);
}

TEST_CASE_FIXTURE(Stopped, "peers: the death of the worker that does not read lets its publishers go on") {
  use_up(1);
  world.kill(1);
  world.run();
  CHECK(pub.reading);
}

TEST_CASE("peers: SUBACK waits until every other worker has processed the filter") {
  BrokerWorld world(3);
  BrokerClient client(world, 0);
  client.connect(world.at_home(0, "c"));
  client.received();
  world.hold(0, 1);
  world.hold(0, 2);
  client.subscribe("t", 1);
  world.hold(0, 1, false);
  world.run();
  CHECK(client.received().empty());
  SUBCASE("one after the other") {
    world.hold(0, 2, false);
  }
  SUBCASE("or not at all: it has died") {
    world.kill(2);
  }
  world.run();
  CHECK(client.received() == Lines{"SUBACK id=1 \"Granted QoS 1\""});
}

TEST_CASE("peers: a filter that all know is granted at once, one on its way is waited for") {
  BrokerWorld world(2);
  BrokerClient first(world, 0), second(world, 0);
  first.connect(world.at_home(0, "a"));
  second.connect(world.at_home(0, "b"));
  first.received();
  second.received();
  world.hold(0, 1);
  first.subscribe("t");
  second.subscribe("t");
  CHECK(first.received().empty());
  CHECK(second.received().empty());
  world.hold(0, 1, false);
  world.run();
  CHECK(first.received().size() == 1);
  CHECK(second.received().size() == 1);
  world.hold(0, 1);
  BrokerClient third(world, 0);
  third.connect(world.at_home(0, "c"));
  third.received();
  third.subscribe("t");
  CHECK(third.received().size() == 1);
}

TEST_CASE("peers: a worker is ready when every other one has told it everything") {
  BrokerWorld world(3);
  world.kill(2);
  world.run();
  world.start(2);
  world.hold(1, 2);
  world.run();
  CHECK_FALSE(world.ready(2));
  world.hold(1, 2, false);
  world.run();
  CHECK(world.ready(2));
}

TEST_CASE("peers: what a new worker must know comes before its clients do") {
  BrokerWorld world(2);
  BrokerClient sub(world, 0);
  sub.connect(world.at_home(0, "sub"));
  sub.subscribe("t", 1);
  sub.received();
  world.kill(1);
  world.run();
  world.start(1);
  world.run();
  REQUIRE(world.ready(1));
  BrokerClient pub(world, 1);
  pub.connect(world.at_home(1, "pub"));
  pub.publish("t", "hi", 1);
  CHECK(sub.payloads() == Lines{"hi"});
}
