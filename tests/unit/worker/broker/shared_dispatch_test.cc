// A group's message goes to one member somewhere, and finds another when that one goes.
#include "worker/broker/shared_dispatch.h"

#include "tests/support/broker_world.h"

using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

constexpr const char* kGroup = "$share/g/t";

struct Fixture {
  Fixture() {
    pub.connect(world.at_home(0, "pub"));
    pub.received();
  }
  void join(BrokerClient& member, uint32_t slot, const std::string& name, uint32_t expiry = 0) {
    member.connect(world.at_home(slot, name), {.clean = true, .expiry = expiry});
    member.subscribe(kGroup, 1);
    member.received();
  }
  BrokerWorld world{3};
  BrokerClient pub{world, 0};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: members of all workers take turns") {
  BrokerClient a(world, 0), b(world, 1), c(world, 2);
  join(a, 0, "a");
  join(b, 1, "b");
  join(c, 2, "c");
  for (int i = 0; i < 9; ++i) pub.publish("t", std::to_string(i), 1);
  for (BrokerClient* member : {&a, &b, &c}) CHECK(member->payloads().size() == 3);
  CHECK(pub.received().size() == 9);
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: a worker whose member has just left refuses, the next one is asked") {
  BrokerClient gone(world, 1), other(world, 2);
  join(gone, 1, "gone");
  join(other, 2, "other");
  world.hold(1, 0);
  gone.unsubscribe(kGroup);
  for (int i = 0; i < 4; ++i) pub.publish("t", std::to_string(i), 1);
  world.hold(1, 0, false);
  world.run();
  Lines arrived = other.payloads();
  std::sort(arrived.begin(), arrived.end());
  CHECK(arrived == Lines{"0", "1", "2", "3"});
  CHECK(pub.received().size() == 4);
  CHECK(gone.payloads().empty());
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: PUBACK waits until a member's worker has accepted") {
  BrokerClient member(world, 1);
  join(member, 1, "member");
  world.hold(1, 0);
  pub.publish("t", "hi", 1);
  CHECK(pub.received().empty());
  world.hold(1, 0, false);
  world.run();
  CHECK(pub.received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: what a worker had not accepted when it died goes to another member") {
  BrokerClient doomed(world, 1), other(world, 2);
  join(doomed, 1, "doomed");
  join(other, 2, "other");
  world.hold(0, 1);
  for (int i = 0; i < 4; ++i) pub.publish("t", std::to_string(i), 1);
  CHECK(other.payloads().size() == 2);
  world.kill(1);
  world.run();
  CHECK(other.payloads().size() == 2);
  CHECK(pub.received().size() == 4);
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: what a member did not acknowledge goes to another when it goes") {
  BrokerClient going(world, 1), other(world, 2);
  join(going, 1, "going");
  pub.publish("t", "hi", 1);
  CHECK(going.payloads() == Lines{"hi"});
  join(other, 2, "other");
  SUBCASE("offline") {
    going.drop();
  }
  SUBCASE("for good") {
    going.disconnect();
  }
  CHECK(other.payloads() == Lines{"hi"});
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: also when it has left the group before") {
  BrokerClient leaving(world, 1), other(world, 2);
  join(leaving, 1, "leaving");
  pub.publish("t", "hi", 1);
  join(other, 2, "other");
  leaving.unsubscribe(kGroup);
  CHECK(other.payloads().empty());  // it may still acknowledge
  BrokerClient again(world, 0);
  SUBCASE("and loses its connection") {
    leaving.drop();
  }
  SUBCASE("and begins anew elsewhere") {
    again.connect(world.at_home(1, "leaving"));
  }
  CHECK(other.payloads() == Lines{"hi"});
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: while nobody is live it waits for the first who is") {
  BrokerClient member(world, 1), other(world, 2);
  join(member, 1, "member", 60);
  member.drop();
  pub.publish("t", "hi", 1);
  CHECK(pub.received().size() == 1);
  SUBCASE("the member comes back") {
    BrokerClient back(world, 1);
    back.connect(world.at_home(1, "member"), {.clean = false, .expiry = 60});
    CHECK(back.payloads() == Lines{"hi"});
  }
  SUBCASE("another one joins") {
    other.connect(world.at_home(2, "other"));
    other.subscribe(kGroup, 1);
    CHECK(other.payloads() == Lines{"hi"});
  }
}

TEST_CASE_FIXTURE(Fixture, "shared_dispatch: QoS 2 reaches a member when no other can be asked any more") {
  BrokerClient first(world, 1), second(world, 2);
  const auto join_at_2 = [&](BrokerClient& member, uint32_t slot, const std::string& name) {
    member.connect(world.at_home(slot, name));
    member.subscribe(kGroup, 2);
    member.received();
  };
  join_at_2(first, 1, "first");
  world.block(1, 0);
  pub.publish("t", "hi", 2);
  CHECK(first.payloads().empty());
  SUBCASE("it answers") {
    world.block(1, 0, false);
    world.run();
    CHECK(first.payloads() == Lines{"hi"});
  }
  SUBCASE("it dies") {
    join_at_2(second, 2, "second");
    world.kill(1);
    world.run();
    world.start(1);
    world.run();
    CHECK(second.payloads() == Lines{"hi"});
  }
}

// Worker 0's only connection is a new one for the member's session, and waits for the store.
TEST_CASE("shared_dispatch: QoS 0 goes to nobody whose connection is being replaced") {
  BrokerWorld world(1);
  BrokerClient pub(world, 0), other(world, 0), before(world, 0), after(world, 0);
  pub.connect("pub");
  before.connect("moving", {.clean = true, .expiry = 60});
  before.subscribe(kGroup, 0);
  other.connect("other");
  other.subscribe(kGroup, 0);
  world.store(0).hold();
  after.connect("moving", {.clean = false, .expiry = 60});
  pub.publish("t", "1");
  pub.publish("t", "2");
  CHECK(other.payloads() == Lines{"1", "2"});
  world.store(0).release();
  world.run();
}

// A member takes what waits for it to another worker, and leaves it to one where it came from.
TEST_CASE("shared: a QoS 2 message comes back to a worker that a session has taken it from") {
  BrokerWorld world(2);
  const BrokerClient::Terms durable{.clean = false, .expiry = 60};
  {
    BrokerClient member(world, 1), pub(world, 0);
    member.connect("a", durable);
    member.subscribe("$share/g/t", 2);
    member.drop();
    pub.connect("pub", durable);
    for (const char* payload : {"1", "2", "3"}) pub.publish("t", payload, 2);
  }
  BrokerClient a(world, 0), b(world, 1);
  a.connect("a", {.clean = false, .expiry = 60, .receive_maximum = 1});
  CHECK(a.payloads() == Lines{"1"});
  b.connect("b", durable);
  b.subscribe("$share/g/t", 2);
  a.drop();
  CHECK(b.payloads() == Lines{"2", "3"});
}

TEST_CASE("shared: what a session gave back before it ended outlives its worker, too") {
  BrokerWorld world(2);
  const BrokerClient::Terms durable{.clean = false, .expiry = 60};
  const std::string id = world.at_home(0, "a");
  {
    BrokerClient member(world, 0), pub(world, 0);
    member.connect(id, durable);
    member.subscribe(kGroup, 1);
    member.drop();
    pub.connect(world.at_home(0, "pub"));
    pub.publish("t", "1", 1);
  }
  BrokerClient other(world, 1);
  other.connect(world.at_home(1, "b"), durable);
  world.block(0, 1);  // what is given back does not get there
  other.subscribe(kGroup, 1);
  {
    BrokerClient again(world, 0);
    again.connect(id);
  }
  CHECK(other.payloads().empty());
  world.kill(0);
  world.start(0);
  world.run();
  CHECK(other.payloads() == Lines{"1"});
  for (const auto& [key, value] : world.disk(0)) CHECK(std::string_view("QO").find(key[0]) == std::string_view::npos);
}
