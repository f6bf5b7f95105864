// Directed runs of two or three hosts about retained messages: places as in cluster_scenarios.cc. That all hosts have
// the same at the end, and that it is what was acknowledged last, is the oracle's to say.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

using proto::QoS;

constexpr int kTopics = 4;

// A publisher on each host.
void join_publishers(Simulation& s, Stage& stage) {
  for (uint32_t host = 0; host < s.world.hosts().size(); ++host) {
    stage.join(text("pub", host), host * s.world.per_host());
  }
}

// Each changes a topic of its own and one that is everybody's.
void change(Simulation& s, Stage& stage, uint32_t host, int round, bool erase = false) {
  Identity& pub = stage[text("pub", host)];
  if (s.failed() || pub.current() == nullptr || !pub.current()->can_write()) return;
  pub.publish(text("r/", host), static_cast<QoS>(round % 3), true, erase);
  pub.publish("r/all", round % 2 == 0 ? QoS::at_least_once : QoS::exactly_once, true, erase);
}

void fill(Simulation& s, Stage& stage, const char* pub, bool erase = false) {
  for (int topic = 0; topic < kTopics; ++topic) {
    if (s.failed() || stage[pub].current() == nullptr) return;
    stage[pub].publish(text("r/", topic), QoS::at_least_once, true, erase);
  }
}

void retained_on_all_hosts(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  for (int round = 0; round < 5; ++round) {
    for (uint32_t host = 0; host < 3; ++host) change(s, stage, host, round, round == 3);
    s.steps(variant * 2);
  }
}

void retained_while_a_host_is_cut_off(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  fill(s, stage, "pub0");
  s.steps(variant);
  s.world.set_partitioned(0, true);
  if (variant % 2 == 0) stage.cut_hub(0);
  for (int round = 0; round < 3; ++round) {
    for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, round, round == 1);
    s.steps(40);
  }
  s.world.set_partitioned(0, false);
  change(s, stage, 1, 0, variant % 3 == 0);
}

// Neither a change nor a deletion tells of it: only the snapshot, by what it has not.
void deleted_while_a_host_is_away(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  fill(s, stage, "pub0");
  s.until_quiet();
  s.world.set_partitioned(0, true);
  stage.cut_hub(0);
  s.world.redis().max_changes = 1;
  s.world.redis().tombstone_ms = 0;
  fill(s, stage, "pub1", true);
  stage["pub1"].publish("r/all", QoS::at_least_once, true);
  s.steps(300 + variant);
  s.world.set_partitioned(0, false);
}

void host_joins_late(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub0", 0);
  fill(s, stage, "pub0");
  if (variant % 2 == 0) s.until_quiet();
  s.world.kill_host(1, false);
  fill(s, stage, "pub0", variant % 3 == 0);
  stage["pub0"].publish("r/all", QoS::at_least_once, true);
  s.steps(variant * 2);
  s.world.execute({EventKind::host_back, 1});
  s.steps(variant);
  fill(s, stage, "pub0");
}

void redis_loses_what_is_retained(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  fill(s, stage, "pub0");
  if (variant % 2 == 0) s.until_quiet();
  s.world.redis().take_snapshot();
  change(s, stage, 1, 0);
  stage["pub1"].publish("r/2", QoS::at_least_once, true, true);
  if (variant % 4 < 2) s.until_quiet();
  s.steps(variant);
  s.world.execute({variant % 3 == 0 ? EventKind::redis_older : EventKind::redis_empty});
  change(s, stage, 0, 1);
  s.steps(60);
  change(s, stage, 1, 1);
}

void gateway_dies_among_changes(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  const auto gateway = static_cast<uint32_t>(variant % 2 == 0 ? 2 : 5);
  for (int round = 0; round < 2; ++round) {
    for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, round);
    s.steps(variant / 2);
    stage.kill(gateway);
    for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, 1);
    s.steps(variant % 60);
    s.world.start(gateway);
  }
  for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, 0, true);
}

void home_dies_among_changes(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  s.world.redis().max_changes = 1 + variant % 3;
  fill(s, stage, "pub0");
  s.steps(variant / 2);
  stage.kill(variant % 2 == 0 ? 1 : 4);
  fill(s, stage, "pub1");
  change(s, stage, 0, 1);
  s.steps(variant);
}

void gaps_in_the_changes(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  s.world.redis().max_changes = 1;
  for (int round = 0; round < 4; ++round) {
    for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, round, round == 2);
    fill(s, stage, variant % 2 == 0 ? "pub0" : "pub1", round == 1);
    s.steps(variant);
  }
}

void redis_is_full(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  fill(s, stage, "pub0");
  s.steps(variant);
  s.world.redis().set_full(true);
  for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, 1);
  s.steps(variant);
  s.world.redis().set_full(false);
  for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, 0, variant % 3 == 0);
}

void lost_answers_of_changes(Simulation& s, uint64_t variant) {
  Stage stage(s);
  join_publishers(s, stage);
  for (int round = 0; round < 4; ++round) {
    for (uint32_t host = 0; host < 2; ++host) change(s, stage, host, round, round == 2);
    s.steps(variant / 2);
    stage.cut_hub(variant % 2);
  }
}

Settings some_hosts(uint32_t hosts) {
  Settings settings;
  settings.hosts = hosts;
  settings.workers = 2;
  settings.clients = 0;
  settings.clustered = true;
  settings.roaming = false;
  return settings;
}

}  // namespace

const std::vector<Scenario>& retained_scenarios() {
  static const std::vector<Scenario> all{
      {"retained-on-all-hosts", 30, some_hosts(3), retained_on_all_hosts},
      {"retained-while-a-host-is-cut-off", 60, some_hosts(2), retained_while_a_host_is_cut_off},
      {"deleted-while-a-host-is-away", 20, some_hosts(2), deleted_while_a_host_is_away},
      {"host-joins-late", 40, some_hosts(2), host_joins_late},
      {"redis-loses-what-is-retained", 40, some_hosts(3), redis_loses_what_is_retained},
      {"gateway-dies-among-changes", 100, some_hosts(2), gateway_dies_among_changes},
      {"home-dies-among-changes", 80, some_hosts(2), home_dies_among_changes},
      {"gaps-in-the-changes", 40, some_hosts(2), gaps_in_the_changes},
      {"redis-is-full", 64, some_hosts(2), redis_is_full},
      {"lost-answers-of-changes", 80, some_hosts(2), lost_answers_of_changes},
  };
  return all;
}

}  // namespace sim
