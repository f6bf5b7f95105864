// One retained message a topic, at its home, shown by every worker.
#include "worker/broker/retained_service.h"

#include "tests/support/broker_world.h"

using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

struct Fixture {
  Fixture() {
    pub.connect(world.at_home(0, "pub"));
    pub.received();
  }
  // What a new subscriber at that worker is shown, in some order.
  Lines shown(uint32_t slot, const std::string& filter) {
    BrokerClient sub(world, slot);
    sub.connect(world.at_home(slot, "new"));
    sub.subscribe(filter, 1);
    Lines payloads = sub.payloads();
    std::sort(payloads.begin(), payloads.end());
    return payloads;
  }
  BrokerWorld world{2};
  BrokerClient pub{world, 0};
  const std::string here = world.at_home(0, "t/here"), there = world.at_home(1, "t/there");
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "retained_service: every worker shows what any worker was given") {
  pub.publish(here, "1", 1, true);
  pub.publish(there, "2", 1, true);
  for (const uint32_t slot : {0U, 1U}) {
    CHECK(shown(slot, here) == Lines{"1"});
    CHECK(shown(slot, there) == Lines{"2"});
    CHECK(shown(slot, "t/+") == Lines{"1", "2"});
    CHECK(shown(slot, "#") == Lines{"1", "2"});
  }
  CHECK(world.gauge(0, metrics::Gauge::retained_messages) == 1);
  CHECK(world.gauge(1, metrics::Gauge::retained_messages) == 1);
}

TEST_CASE_FIXTURE(Fixture, "retained_service: the newer one replaces, an empty one removes") {
  for (const std::string& topic : {here, there}) {
    pub.publish(topic, "1", 1, true);
    pub.publish(topic, "2", 0, true);
    CHECK(shown(1, topic) == Lines{"2"});
    pub.publish(topic, "", 1, true);
    CHECK(shown(1, topic).empty());
  }
  CHECK(world.gauge(0, metrics::Gauge::retained_messages) == 0);
  CHECK(world.gauge(1, metrics::Gauge::retained_messages) == 0);
}

TEST_CASE_FIXTURE(Fixture, "retained_service: PUBACK waits until the topic's home has it") {
  world.hold(0, 1);
  pub.publish(there, "1", 1, true);
  CHECK(pub.received().empty());
  world.hold(0, 1, false);
  world.run();
  CHECK(pub.received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "retained_service: what is set while the home is away is there when it is back") {
  world.kill(1);
  world.run();
  pub.publish(there, "1", 1, true);
  pub.publish(there, "2", 1, true);
  world.start(1);
  world.run();
  CHECK(shown(0, there) == Lines{"2"});
  CHECK(shown(1, there) == Lines{"2"});
}

TEST_CASE_FIXTURE(Fixture, "retained_service: who asks while the home is away is shown it when it is back") {
  world.kill(1);
  world.run();
  pub.publish(there, "1", 1, true);
  BrokerClient sub(world, 0);
  sub.connect(world.at_home(0, "sub"));
  sub.subscribe(there, 1);
  CHECK(sub.payloads().empty());
  world.start(1);
  world.run();
  CHECK(sub.payloads() == Lines{"1"});
}

TEST_CASE_FIXTURE(Fixture, "retained_service: more than a home may send ahead") {
  const std::string prefix = there + "/";
  for (int i = 0; i < 4; ++i) pub.publish(world.at_home(1, prefix), std::string(200'000, 'x'), 1, true);
  std::vector<std::string> topics;
  for (int i = 0; i < 12; ++i) topics.push_back(world.at_home(1, prefix + std::to_string(i) + "-"));
  for (const std::string& topic : topics) pub.publish(topic, std::string(200'000, 'x'), 1, true);
  CHECK(shown(0, prefix + "#").size() == topics.size() + 1);
}

TEST_CASE_FIXTURE(Fixture, "retained_service: a topic that came live is not shown behind it") {
  pub.publish(there, "old", 1, true);
  BrokerClient other(world, 0), sub(world, 0);
  other.connect(world.at_home(0, "other"));
  other.subscribe(there);  // so that the filter is known already
  sub.connect(world.at_home(0, "sub"));
  world.hold(1, 0);  // the home's answer
  sub.subscribe(there);
  pub.publish(there, "new", 0, true);
  CHECK(sub.payloads() == Lines{"new"});
  world.hold(1, 0, false);
  world.run();
  CHECK(sub.payloads().empty());
}

TEST_CASE_FIXTURE(Fixture, "retained_service: a replay ends with the subscription, or the connection") {
  pub.publish(there, "1", 1, true);
  BrokerClient sub(world, 0);
  sub.connect(world.at_home(0, "sub"));
  BrokerClient other(world, 0);
  other.connect(world.at_home(0, "other"));
  other.subscribe(there);  // so that the filter is known already
  world.hold(1, 0);        // the home's answer
  sub.subscribe(there);
  SUBCASE("UNSUBSCRIBE") {
    sub.unsubscribe(there);
  }
  SUBCASE("connection lost") {
    sub.drop();
  }
  world.hold(1, 0, false);
  world.run();
  CHECK(sub.payloads().empty());
}

// --- mqtt.max_retained ---

namespace {

// One message at each home, and no room for more.
struct Full {
  Full() {
    config::Mqtt mqtt;
    mqtt.max_retained = 2;
    world = std::make_unique<BrokerWorld>(2, BrokerWorld::Options{.mqtt = mqtt});
    pub = std::make_unique<BrokerClient>(*world, 0);
    pub->connect(world->at_home(0, "pub"), {.clean = false, .expiry = 60});
    kept = topic(1);
    pub->publish(topic(0), "0", 1, true);
    pub->publish(kept, "0", 1, true);
    pub->received();
  }
  // Another one with its home there, each time.
  std::string topic(uint32_t home) { return world->at_home(home, "t/" + std::to_string(++topics) + "/"); }
  uint64_t refused(uint32_t home) const { return world->count(home, metrics::Counter::retained_refused); }

  std::unique_ptr<BrokerWorld> world;
  std::unique_ptr<BrokerClient> pub;
  std::string kept;  // at worker 1
  int topics = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Full, "retained_service: a full home refuses, whichever worker its publisher is at") {
  for (const uint32_t home : {0U, 1U}) {
    pub->publish(topic(home), "1", 1, true);
    pub->publish(topic(home), "2", 2, true);
    pub->publish(topic(home), "3", 0, true);
    pub->publish(topic(home), "", 1, true);
    CHECK(pub->received() == Lines{"PUBACK id=" + std::to_string(3 + 3 * home) + " \"Quota exceeded\"",
                                   "PUBREC id=" + std::to_string(4 + 3 * home) + " \"Quota exceeded\"",
                                   "PUBACK id=" + std::to_string(5 + 3 * home) + " \"No matching subscribers\""});
    CHECK(refused(home) == 3);
    CHECK(world->gauge(home, metrics::Gauge::retained_messages) == 1);
  }
}

TEST_CASE_FIXTURE(Full, "retained_service: what is at a full home changes and goes, and makes room") {
  pub->publish(kept, "1", 1, true);
  pub->publish(kept, "", 1, true);
  pub->publish(topic(1), "2", 1, true);
  pub->publish(topic(1), "3", 1, true);
  CHECK(pub->received() == Lines{"PUBACK id=3 \"No matching subscribers\"", "PUBACK id=4 \"No matching subscribers\"",
                                 "PUBACK id=5 \"No matching subscribers\"", "PUBACK id=6 \"Quota exceeded\""});
}

TEST_CASE_FIXTURE(Full, "retained_service: who is subscribed gets what is not retained, and that is a success") {
  for (const uint32_t slot : {0U, 1U}) {
    BrokerClient sub(*world, slot);
    sub.connect(world->at_home(slot, "sub"));
    const std::string refused = topic(1);
    sub.subscribe(refused, 1);
    pub->publish(refused, "live", 1, true);
    CHECK(sub.payloads() == Lines{"live"});
    CHECK(pub->received() == Lines{"PUBACK id=" + std::to_string(3 + slot) + " \"Success\""});
  }
  CHECK(refused(1) == 2);
}

TEST_CASE_FIXTURE(Full, "retained_service: a refusal keeps its place among the answers") {
  world->hold(1, 0);
  pub->publish(topic(1), "1", 1, true);
  pub->publish("other", "2", 1);
  pub->publish(topic(1), "3", 2, true);
  pub->publish(topic(0), "4", 1, true);
  CHECK(pub->received().empty());
  world->hold(1, 0, false);
  world->run();
  CHECK(pub->received() == Lines{"PUBACK id=3 \"Quota exceeded\"", "PUBACK id=4 \"No matching subscribers\"",
                                 "PUBREC id=5 \"Quota exceeded\"", "PUBACK id=6 \"Quota exceeded\""});
}

TEST_CASE_FIXTURE(Full, "retained_service: MQTT 3.1.1 is answered without a reason") {
  BrokerClient old(*world, 0, proto::ProtocolVersion::v3_1_1);
  old.connect(world->at_home(0, "old"));
  old.received();
  old.publish(topic(1), "1", 1, true);
  old.publish(topic(1), "2", 2, true);
  CHECK(old.received() == Lines{"PUBACK id=1 \"Success\"", "PUBREC id=2 \"Success\""});
  CHECK(refused(1) == 2);
}

TEST_CASE_FIXTURE(Full, "retained_service: a home that dies leaves the answer to its replacement") {
  const std::string first = topic(1), second = topic(1), third = topic(1);
  world->block(1, 0);
  pub->publish(first, "1", 1, true);
  pub->publish(kept, "", 1, true);  // it is stored, which makes room and the one before it known
  world->kill(1);
  world->run();
  pub->publish(second, "3", 1, true);
  pub->publish(third, "4", 1, true);
  CHECK(pub->received().empty());
  world->start(1);
  world->run();
  CHECK(pub->received() == Lines{"PUBACK id=3 \"Quota exceeded\"", "PUBACK id=4 \"No matching subscribers\"",
                                 "PUBACK id=5 \"No matching subscribers\"", "PUBACK id=6 \"Quota exceeded\""});
  CHECK(world->gauge(1, metrics::Gauge::retained_messages) == 1);
}

TEST_CASE_FIXTURE(Full, "retained_service: a refused packet id is free in the store before that is said") {
  world->hold(1, 0);
  pub->publish(topic(1), "1", 2, true);
  world->set_slow(0);
  world->hold(1, 0, false);
  world->run();
  CHECK(pub->received().empty());
  world->set_well(0);
  world->run();
  CHECK(pub->received() == Lines{"PUBREC id=3 \"Quota exceeded\""});
}
