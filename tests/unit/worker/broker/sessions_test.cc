// What is kept of a session, and for how long.
#include "worker/broker/sessions.h"

#include "tests/support/broker_world.h"

using support::BrokerClient;
using support::BrokerWorld;

namespace {

struct Fixture {
  Fixture() {
    client.connect(id, {.clean = true, .expiry = 60});
    client.subscribe("t/#", 1);
    client.subscribe("$share/g/t/#", 1);
    other.connect(world.at_home(1, "other"));
    other.publish("t/x", "1", 1);
    other.publish("t/x", "2", 2);
    world.run();
  }
  BrokerWorld world{2};
  const std::string id = world.at_home(0, "c");
  BrokerClient client{world, 0}, other{world, 1};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "sessions: one that has ended leaves nothing in the store") {
  CHECK_FALSE(world.disk(0).empty());
  BrokerClient again(world, 0);
  SUBCASE("at a clean start") {
    client.drop();
    again.connect(id);
  }
  SUBCASE("when it has expired") {
    client.drop();
    world.pass(61'000);
  }
  SUBCASE("when its client says so") {
    client.disconnect(0);
  }
  SUBCASE("at a clean start elsewhere") {
    BrokerClient elsewhere(world, 1);
    elsewhere.connect(id);
  }
  std::string left;
  for (const auto& [key, value] : world.disk(0)) {
    if (std::string_view("SBQIR").find(key[0]) != std::string_view::npos) left += key[0];
  }
  CHECK(left.empty());
  CHECK(world.gauge(0, metrics::Gauge::subscriptions) == 0);
}

// --- the wall clock ---

namespace {

// Sessions of clients that have gone, in the store of a worker that dies.
struct Stored {
  Stored() {
    for (const char* id : {"gone", "watch"}) {
      BrokerClient client(world, 0);
      client.connect(id, {.clean = false, .expiry = 60});
      client.subscribe(id, 1);
    }
  }
  void restart() {
    world.kill(0);
    world.start(0);
    world.run();
  }
  bool there(const std::string& id) {
    BrokerClient client(world, 0);
    client.connect(id, {.clean = false, .expiry = 60});
    return client.received() == support::Lines{"CONNACK session_present \"Success\""};
  }
  BrokerWorld world{1};
};

}  // namespace

TEST_CASE_FIXTURE(Stored, "sessions: a client's time counts from its worker's death, not from long before") {
  world.pass(100);
  BrokerClient client(world, 0);
  client.connect("brief", {.clean = false, .expiry = 1});
  world.pass(900);
  world.pass(950);
  restart();
  world.pass(500);
  CHECK(there("brief"));
}

TEST_CASE_FIXTURE(Stored, "sessions: a wall clock that is set while a worker runs ends nothing") {
  world.clock.set_wall_by(1'000'000);
  world.pass(50'000);
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 2);
  world.clock.set_wall_by(-2'000'000);
  world.pass(9'000);
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 2);
  world.pass(2'000);
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
}

TEST_CASE_FIXTURE(Stored, "sessions: a wall clock that was set forwards while nobody ran has passed") {
  world.clock.set_wall_by(59);
  restart();
  CHECK(there("gone"));
  world.clock.set_wall_by(62);
  restart();
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
}

TEST_CASE_FIXTURE(Stored, "sessions: a wall clock that was set back makes no time, and time goes on from there") {
  world.clock.set_wall_by(-1'000'000);
  restart();
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 2);
  world.pass(40'000);
  restart();
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 2);
  world.pass(21'000);
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
}
