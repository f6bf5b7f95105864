// What cannot be stored is refused, and only that; what was refused is new when it comes again.
#include <doctest/doctest.h>

#include "tests/support/broker_world.h"

using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

constexpr auto V5 = proto::ProtocolVersion::v5;
constexpr auto V311 = proto::ProtocolVersion::v3_1_1;

struct Fixture {
  Fixture() {
    durable.connect("durable", {.clean = false, .expiry = 60});
    durable.subscribe("durable", 2);
    brief.connect("brief");
    brief.subscribe("brief", 2);
    durable.received(), brief.received();
  }
  void connect(BrokerClient& publisher) {
    publisher.connect("publisher", {.clean = false, .expiry = 60});
    publisher.received();
  }
  BrokerWorld world{1};
  BrokerClient durable{world, 0}, brief{world, 0};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "refusal: a full store refuses what needs it, and serves the rest") {
  BrokerClient pub(world, 0);
  pub.connect("pub");
  pub.received();
  world.set_full(0);
  pub.publish("durable", "1", 1);
  pub.publish("durable", "2", 1, true);
  pub.publish("brief", "3", 1);
  pub.publish("durable", "4", 0);
  CHECK(pub.received() ==
        Lines{"PUBACK id=1 \"Quota exceeded\"", "PUBACK id=2 \"Quota exceeded\"", "PUBACK id=3 \"Success\""});
  CHECK(brief.payloads() == Lines{"3"});
  CHECK(world.count(0, metrics::Counter::publish_refused_store) == 2);
  world.set_well(0);
  CHECK(durable.payloads() == Lines{"4"});
  pub.publish("durable", "5", 1);
  CHECK(pub.received() == Lines{"PUBACK id=4 \"Success\""});
  CHECK(durable.payloads() == Lines{"5"});
}

TEST_CASE_FIXTURE(Fixture, "refusal: MQTT 3.1.1 is closed, and its QoS 2 message is new when it comes again") {
  BrokerClient pub(world, 0, V311);
  connect(pub);
  world.set_full(0);
  pub.publish("durable", "1", 2);
  CHECK(pub.received().empty());
  CHECK(pub.closed);
  world.set_well(0);
  BrokerClient again(world, 0, V311);
  connect(again);
  again.publish("durable", "1", 2);
  CHECK(again.received() == Lines{"PUBREC id=1 \"Success\""});
  CHECK(durable.payloads() == Lines{"1"});
}

TEST_CASE_FIXTURE(Fixture, "refusal: a QoS 2 message whose refusal was never said is new when it comes again") {
  BrokerClient pub(world, 0, V5);
  connect(pub);
  world.set_slow(0);
  pub.publish("durable", "1", 1);
  world.set_full(0);
  pub.publish("durable", "2", 2);
  CHECK(pub.received().empty());  // behind the PUBACK of the first one, which waits
  pub.drop();
  world.set_well(0);
  CHECK(durable.payloads() == Lines{"1"});
  BrokerClient again(world, 0, V5);
  connect(again);
  again.publish("other", "0", 1);
  again.publish("durable", "2", 2);
  CHECK(again.received() == Lines{"PUBACK id=1 \"No matching subscribers\"", "PUBREC id=2 \"Success\""});
  CHECK(durable.payloads() == Lines{"2"});
}
