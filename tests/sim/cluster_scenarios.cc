// Directed runs of two hosts with two workers each: places 0 and 1 are the workers of host 0, 2 its gateway; 3, 4 and 5
// are those of host 1.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

void publish_rounds(Simulation& s, Stage& stage, int rounds, uint64_t steps) {
  for (int round = 0; round < rounds; ++round) {
    for (const char* name : {"pub0", "pub1"}) stage.publish_all(name, "t/0");
    s.steps(steps);
  }
}

void two_subscribers_two_publishers(Stage& stage) {
  stage.join("sub0", 1, {"t/#"});
  stage.join("sub1", 4, {"t/#"});
  stage.join("pub0", 0);
  stage.join("pub1", 3);
}

void hosts_hear_each_other(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  publish_rounds(s, stage, 5, variant * 5);
  s.until_quiet();
  stage["sub1"].unsubscribe("t/#");
  stage.publish_all("pub0", "t/1");
}

void suback_races_a_publisher_of_another_host(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0);
  stage.join("pub", 3);
  stage.hold(5, 3, variant % 2 == 0);  // its worker does not read what its gateway announces
  stage["sub"].subscribe({"t/#"});
  s.steps(variant);
  stage.publish_all("pub", "t/0");
  stage.hold(5, 3, false);
  s.until_quiet();
  stage.publish_all("pub", "t/0");
}

void gateway_dies_in_a_stream(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  publish_rounds(s, stage, 2, 1);
  s.steps(variant / 2);
  const auto gateway = static_cast<uint32_t>(variant % 2 == 0 ? 2 : 5);
  stage.kill(gateway);
  publish_rounds(s, stage, 2, 10);
  s.world.start(gateway);
  publish_rounds(s, stage, 2, variant % 50);
}

void worker_and_gateway_die_in_a_stream(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  publish_rounds(s, stage, 2, 1);
  s.steps(variant / 2);
  stage.kill(variant % 2 == 0 ? 0 : 4);
  stage.kill(variant % 4 < 2 ? 2 : 5);
  publish_rounds(s, stage, 2, 10);
}

void connection_to_redis_breaks_in_a_stream(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  for (int round = 0; round < 3; ++round) {
    publish_rounds(s, stage, 2, 1);
    s.steps(variant / 2);
    stage.cut_hub(variant % 2);
  }
}

void redis_is_away_in_a_stream(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  publish_rounds(s, stage, 2, 1);
  s.steps(variant / 2);
  s.world.redis().down();
  publish_rounds(s, stage, 3, 30);
  s.world.redis().up();
  publish_rounds(s, stage, 1, 10);
}

void host_stands_still_past_its_lease(Simulation& s, uint64_t variant) {
  Stage stage(s);
  two_subscribers_two_publishers(stage);
  publish_rounds(s, stage, 2, 1);
  s.world.execute({EventKind::stop_host, static_cast<uint32_t>(variant % 2)});
  s.steps(variant * 3);
  publish_rounds(s, stage, 1, 1);
  s.world.execute({EventKind::go_host, static_cast<uint32_t>(variant % 2)});
  publish_rounds(s, stage, 1, 1);
}

}  // namespace

Settings two_hosts() {
  Settings settings;
  settings.hosts = 2;
  settings.workers = 2;
  settings.clients = 0;
  settings.clustered = true;
  settings.roaming = false;
  settings.retained = false;
  return settings;
}

const std::vector<Scenario>& cluster_scenarios() {
  static const std::vector<Scenario> all{
      {"hosts-hear-each-other", 10, two_hosts(), hosts_hear_each_other},
      {"suback-races-a-publisher-of-another-host", 80, two_hosts(), suback_races_a_publisher_of_another_host},
      {"gateway-dies-in-a-stream", 120, two_hosts(), gateway_dies_in_a_stream},
      {"worker-and-gateway-die-in-a-stream", 120, two_hosts(), worker_and_gateway_die_in_a_stream},
      {"connection-to-redis-breaks-in-a-stream", 120, two_hosts(), connection_to_redis_breaks_in_a_stream},
      {"redis-is-away-in-a-stream", 80, two_hosts(), redis_is_away_in_a_stream},
      {"host-stands-still-past-its-lease", 40, two_hosts(), host_stands_still_past_its_lease},
  };
  return all;
}

}  // namespace sim
