// Shared groups over the hosts of a cluster.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

constexpr const char* kGroup = "$share/flock/g/+";

// 0, gateway 1; 2, gateway 3; 4, gateway 5.
Settings three_hosts() {
  Settings settings = two_hosts();
  settings.hosts = 3;
  settings.workers = 1;
  return settings;
}

// Nothing that was asked for and can arrive is missing.
void arrives(Simulation& s) {
  if (!s.failed()) s.until_quiet();
}

void publish_some(Stage& stage, const char* name, int n) {
  for (int i = 0; i < n; ++i) stage.publish_all(name, text("g/", i % 3));
}

void a_member_on_another_host(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub", variant % 2);
  stage.join("member", 3 + variant / 2 % 2, {kGroup}, variant % 3 != 0);
  publish_some(stage, "pub", 6);
  arrives(s);
  stage["member"].unsubscribe(kGroup);
  s.steps(variant);
  publish_some(stage, "pub", 3);
}

void one_member_in_the_cluster(Simulation& s, uint64_t variant) {
  Stage stage(s);
  for (const uint32_t place : {0, 2, 4}) stage.join(text("member", place), place, {kGroup}, variant % 2 == 0);
  for (const uint32_t place : {0, 2, 4}) stage.join(text("pub", place), place);
  for (int i = 0; i < 4; ++i) {
    for (const char* pub : {"pub0", "pub2", "pub4"}) publish_some(stage, pub, 1);
    s.steps(variant);
  }
}

// One is offline here, another live there, or the other way round; then they change places.
void a_live_member_elsewhere(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 0, {kGroup});
  stage.join("b", 3, {kGroup});
  stage.join("pub", variant % 2 == 0 ? 1 : 4);
  const char* offline = variant / 2 % 2 == 0 ? "a" : "b";
  stage[offline].set_paused(variant % 3 == 0);
  publish_some(stage, "pub", 2);
  s.steps(variant / 2);
  stage[offline].drop(true);
  publish_some(stage, "pub", 3);
  arrives(s);
  stage[offline].set_paused(false);
  const char* live = offline[0] == 'a' ? "b" : "a";
  stage[live].drop(true);
  publish_some(stage, "pub", 3);
  s.steps(variant);
  stage.connect(offline, offline[0] == 'a' ? 1 : 4);
  arrives(s);
}

void a_death_on_the_way(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 3, {kGroup}, variant % 2 == 0);
  if (variant % 3 != 0) stage.join("b", 4, {kGroup}, variant / 2 % 2 == 0);
  if (variant % 5 == 0) stage.join("c", 1, {kGroup});
  stage.join("pub", 0, {}, variant % 7 != 0);
  publish_some(stage, "pub", 3);
  s.steps(variant / 4);
  stage.kill(variant % 6);
  publish_some(stage, "pub", 3);
  s.steps(variant % 50);
  publish_some(stage, "pub", 1);
}

// Another process a little later.
void two_deaths_on_the_way(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 3, {kGroup});
  stage.join("b", 4, {kGroup});
  stage.join("pub", 0);
  publish_some(stage, "pub", 4);
  s.steps(variant / 9 % 60);
  stage.kill(variant % 6);
  s.steps(variant / 36 * 3);
  stage.kill((variant + 1 + variant / 6 % 5) % 6);
  publish_some(stage, "pub", 2);
}

void a_host_dies(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 2, {kGroup}, variant % 2 == 0);
  if (variant % 3 == 0) stage.join("b", 4, {kGroup});
  stage.join("pub", 0);
  publish_some(stage, "pub", 4);
  s.steps(variant / 2);
  if (!s.failed()) s.world.kill_host(variant % 4 == 0 ? 0 : 1, false);
  publish_some(stage, "pub", 3);
}

void redis_is_away(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 3, {kGroup}, variant % 2 == 0);
  if (variant % 3 == 0) stage.join("b", 1, {kGroup});
  stage.join("pub", 0);
  publish_some(stage, "pub", 3);
  s.steps(variant / 3);
  if (!s.failed()) s.world.execute({EventKind::redis_down});
  publish_some(stage, "pub", 3);
  s.steps(variant % 4 * 400);
  if (variant % 5 == 0) stage.kill(2 + variant % 2 * 3);
  publish_some(stage, "pub", 1);
}

void a_host_is_cut_off(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("a", 2, {kGroup}, variant % 2 == 0);
  stage.join("b", 4, {kGroup}, variant % 3 == 0);
  stage.join("pub", 0);
  publish_some(stage, "pub", 3);
  s.steps(variant / 3);
  if (!s.failed()) s.world.set_partitioned(static_cast<uint32_t>(variant % 3), true);
  publish_some(stage, "pub", 3);
  s.steps(variant % 4 * 700);
  publish_some(stage, "pub", 1);
}

}  // namespace

const std::vector<Scenario>& shared_scenarios() {
  static const std::vector<Scenario> all{
      {"shared-a-member-on-another-host", 40, two_hosts(), a_member_on_another_host},
      {"shared-one-member-in-the-cluster", 40, three_hosts(), one_member_in_the_cluster},
      {"shared-a-live-member-elsewhere", 120, two_hosts(), a_live_member_elsewhere},
      {"shared-a-death-on-the-way", 420, two_hosts(), a_death_on_the_way},
      {"shared-two-deaths-on-the-way", 360, two_hosts(), two_deaths_on_the_way},
      {"shared-a-host-dies", 160, three_hosts(), a_host_dies},
      {"shared-redis-is-away", 120, two_hosts(), redis_is_away},
      {"shared-a-host-is-cut-off", 120, three_hosts(), a_host_is_cut_off},
  };
  return all;
}

}  // namespace sim
