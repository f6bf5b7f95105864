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
