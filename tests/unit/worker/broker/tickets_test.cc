// What the answer to a PUBLISH waits for (contract C6).
#include "worker/broker/tickets.h"

#include "tests/support/broker_world.h"

using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

const Lines kPuback{"PUBACK id=1 \"Success\""};
const Lines kNothing;

// A publisher at worker 0 and a subscriber at each of the others.
struct Fixture {
  explicit Fixture(uint32_t workers = 2, uint32_t expiry = 0) : world(workers), pub(world, 0) {
    pub.connect(world.at_home(0, "pub"));
    for (uint32_t slot = 1; slot < workers; ++slot) {
      BrokerClient& sub = *subs.emplace_back(std::make_unique<BrokerClient>(world, slot));
      sub.connect(world.at_home(slot, "sub"), {.clean = true, .expiry = expiry});
      sub.subscribe("t", 1);
      sub.received();
    }
    pub.received();
  }
  BrokerWorld world;
  BrokerClient pub;
  std::vector<std::unique_ptr<BrokerClient>> subs;
};

}  // namespace

TEST_CASE("tickets: what concerns this worker only is answered at once") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("other", "hi", 1);
  CHECK(f.pub.received() == Lines{"PUBACK id=1 \"No matching subscribers\""});
  BrokerClient local(f.world, 0);
  local.connect(f.world.at_home(0, "local"));
  f.world.block(0, 1, false);
  local.subscribe("here", 1);
  f.world.block(0, 1);
  f.pub.publish("here", "hi", 1);
  CHECK(f.pub.received() == Lines{"PUBACK id=2 \"Success\""});
}

TEST_CASE("tickets: PUBACK waits until the message is written to the other worker") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("t", "hi", 1);
  CHECK(f.pub.received() == kNothing);
  f.world.hold(0, 1);  // written is enough: the bytes outlive the worker that wrote them
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == kPuback);
}

TEST_CASE("tickets: of several publishers each gets its answers, in its order") {
  Fixture f;
  BrokerClient other(f.world, 0);
  other.connect(f.world.at_home(0, "other"));
  other.received();
  f.world.block(0, 1);
  f.pub.publish("t", "1", 1);
  f.pub.publish("t", "2", 2);
  other.publish("t", "3", 1);
  f.pub.publish("t", "4", 1);
  CHECK(f.pub.received() == kNothing);
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == Lines{"PUBACK id=1 \"Success\"", "PUBREC id=2 \"Success\"", "PUBACK id=3 \"Success\""});
  CHECK(other.received() == kPuback);
  CHECK(f.subs[0]->payloads() == Lines{"1", "2", "3", "4"});
}

TEST_CASE("tickets: an answer for a publisher that has gone meanwhile is nobody's") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("t", "1", 1);
  f.pub.disconnect();
  f.world.run();
  BrokerClient next(f.world, 0);
  next.connect(f.world.at_home(0, "next"));
  next.received();
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(next.received() == kNothing);
}

TEST_CASE("tickets: a durable subscriber's worker must have processed it") {
  Fixture f(2, 60);
  f.world.hold(0, 1);
  f.pub.publish("t", "hi", 1);
  CHECK(f.pub.received() == kNothing);
  f.world.hold(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == kPuback);
  CHECK(f.subs[0]->payloads() == Lines{"hi"});
}

TEST_CASE("tickets: PUBREC waits likewise") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("t", "hi", 2);
  CHECK(f.pub.received() == kNothing);
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == Lines{"PUBREC id=1 \"Success\""});
}

TEST_CASE("tickets: one answer when the last of several workers has it") {
  Fixture f(3);
  f.world.block(0, 1);
  f.world.block(0, 2);
  f.pub.publish("t", "hi", 1);
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == kNothing);
  f.world.block(0, 2, false);
  f.world.run();
  CHECK(f.pub.received() == kPuback);
}

TEST_CASE("tickets: nobody waits for the dead") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("t", "hi", 1);
  f.world.kill(1);
  f.world.run();
  CHECK(f.pub.received() == kPuback);
}

TEST_CASE("tickets: answers come in the order of the messages, whatever they wait for") {
  Fixture f;
  BrokerClient local(f.world, 0);
  local.connect(f.world.at_home(0, "local"));
  local.subscribe("here", 1);
  f.world.block(0, 1);
  f.pub.publish("t", "1", 1);
  f.pub.publish("here", "2", 1);
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == Lines{"PUBACK id=1 \"Success\"", "PUBACK id=2 \"Success\""});
}

TEST_CASE("tickets: a publisher that has gone is not answered, and nothing is left") {
  Fixture f;
  f.world.block(0, 1);
  f.pub.publish("t", "hi", 1);
  f.pub.drop();
  f.world.block(0, 1, false);
  f.world.run();
  CHECK(f.pub.received() == kNothing);
  CHECK(f.subs[0]->payloads() == Lines{"hi"});
}
