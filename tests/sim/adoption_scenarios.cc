// Hosts that are dead for a while, and rise when others have gone on with what they had, or while nobody can say so;
// and what a death, or Redis, takes with it of what hosts say to each other.
#include <algorithm>

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
  settings.roaming = true;
  settings.faults.redis_long = true;
  return settings;
}

void rise(Simulation& s, uint32_t host) {
  if (!s.failed() && s.world.host(host).down) s.world.execute({EventKind::host_back, host});
}

void until_adopted(Simulation& s, uint32_t host) {
  s.until([&] { return !s.world.host(host).adopted.empty(); }, "is adopted");
}

void publish(Stage& stage, const char* name) {
  for (const char* topic : {"t/0", "g/0", "g/1"}) stage.publish_all(name, topic);
}

// The host of a subscriber, a member of a group and a publisher dies.
void a_host_rises(Simulation& s, uint64_t variant, const std::function<void(Stage&)>& meanwhile) {
  Stage stage(s);
  stage.join("sub", 0, {"t/#"});
  stage.join("member", 0, {kGroup});
  stage.join("other", 2, {kGroup}, variant % 2 == 0);
  stage.join("far", 4, {"t/#"});
  stage.join("pub0", 0);
  stage.join("pub4", 4);
  publish(stage, "pub0");
  publish(stage, "pub4");
  s.steps(variant / 2);
  if (s.failed()) return;
  s.world.kill_host(0, false);
  publish(stage, "pub4");
  meanwhile(stage);
  publish(stage, "pub4");
  s.steps(variant % 40);
  for (const char* name : {"sub", "pub0", "member"}) stage.connect(name, 2 * (variant / 3 % 3));
  s.steps(variant % 60);
  publish(stage, "pub0");
  publish(stage, "pub4");
}

void after_its_adoption(Simulation& s, uint64_t variant) {
  a_host_rises(s, variant, [&](Stage& stage) {
    until_adopted(s, 0);
    s.steps(variant % 7 * 40);
    if (variant % 3 == 0) stage.connect("sub", 4);
    s.steps(variant % 50);
    rise(s, 0);
  });
}

void without_redis(Simulation& s, uint64_t variant) {
  a_host_rises(s, variant, [&](Stage& stage) {
    if (variant % 4 != 0) until_adopted(s, 0);
    s.steps(variant % 5 * 30);
    if (!s.failed()) s.world.execute({EventKind::redis_down});
    s.steps(variant % 3 * 100);
    rise(s, 0);
    s.steps(variant % 90);
    stage.kill(variant % 5 < 2 ? 0 : 1);
    s.steps(20);
    for (const uint32_t place : {0U, 1U}) {
      if (!s.failed() && s.world.live(place) == nullptr) s.world.start(place);
    }
    s.steps(variant % 110);
    if (variant % 2 == 0 && !s.failed()) s.world.execute({EventKind::redis_up});
  });
}

// A host dies and rises, and dies again, while Redis is away for many leases.
void redis_is_away_for_minutes(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0, {"t/#"});
  stage.join("member", 0, {kGroup});
  stage.join("far", 4, {"t/#"});
  stage.join("pub0", 0);
  stage.join("pub2", 2);
  publish(stage, "pub0");
  publish(stage, "pub2");
  s.steps(variant / 3);
  if (s.failed()) return;
  s.world.execute({EventKind::redis_down});
  for (uint64_t round = 0; round < 3; ++round) {
    publish(stage, "pub0");
    publish(stage, "pub2");
    s.steps(200 + variant % 70);
    const auto host = static_cast<uint32_t>((variant + round) % 3);
    if (!s.failed()) s.world.kill_host(host, false);
    publish(stage, "pub0");
    publish(stage, "pub2");
    s.steps(200 + variant % 90);
    rise(s, host);
    s.steps(variant % 100);
    for (const char* name : {"sub", "pub0"}) stage.connect(name, 0);
    stage.connect("pub2", 2);
    s.steps(100);
  }
  if (!s.failed()) s.world.execute({EventKind::redis_up});
}

// Something is in the inbox of that host.
bool has_come(Simulation& s, uint32_t host) {
  return std::ranges::any_of(s.world.redis().nodes(), [&](const auto& node) {
    return node.first.starts_with(text("host", host, '.')) && !node.second.inbox.empty();
  });
}

// What a host had accepted has reached one of the others when it dies, and a session comes there from the third before
// it is routed again.
void a_session_moves_while_a_host_is_dead(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("near", 2, {"t/#"});
  stage.join("moving", 4, {"t/#"});
  Identity& pub = stage.join("pub", 0);
  s.until_quiet();
  if (s.failed()) return;
  pub.publish("t/0", variant % 3 == 0 ? proto::QoS::at_least_once : proto::QoS::exactly_once);
  for (int i = 0; i < 2000 && !s.failed() && !has_come(s, 1); ++i) s.steps(1);
  if (!s.failed()) s.trace.line(has_come(s, 2) ? "-- both have it" : "-- one has it");
  if (!s.failed()) s.world.kill_host(0, false);
  s.steps(variant % 50);
  stage.connect("moving", 2);
  s.until(
      [&] { return stage["moving"].current() != nullptr && &stage["moving"].current()->process == s.world.live(2); },
      "moves");
  if (variant % 2 == 0) until_adopted(s, 0);
  s.steps(variant % 30);
  rise(s, 0);
}

// A SUBACK outlives the hosts that it was confirmed by: one rises without Redis, and knows what the other wants.
void a_route_is_stored_elsewhere(Simulation& s, uint64_t variant) {
  Stage stage(s);
  Identity& sub = stage.join("sub", variant % 2, {}, true);
  s.steps(variant / 2 % 50);
  sub.subscribe({"t/#"});
  s.until([&] { return s.clients.quiet(); }, "subscribes");
  if (s.failed()) return;
  s.world.kill_host(1, false);
  s.world.execute({EventKind::redis_down});
  rise(s, 1);
  const auto is_ready = [&s](uint32_t place) { return s.world.live(place) != nullptr && s.world.live(place)->ready; };
  s.until([&] { return is_ready(3) && is_ready(4); }, "rises");
  stage.join("pub", 3 + variant % 2, {}, false);
  stage.publish_all("pub", "t/0");
  s.steps(variant % 60);
  if (!s.failed()) s.world.execute({EventKind::redis_up});
}

// It has said that it has put its cut into its stream, which may not have left it: nobody waits for that.
void a_third_gateway_dies(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("c", 0, {"t/#"});
  stage.join("pub", 4);
  publish(stage, "pub");
  stage.connect("c", 2);
  s.steps(variant);
  stage.kill(5);
  publish(stage, "pub");
  s.steps(variant % 20);
  if (!s.failed() && s.world.live(5) == nullptr) s.world.start(5);
}

// A claimant hangs up, and Redis loses the word of that.
void an_abort_is_lost(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub", 4);
  stage.join("c", variant % 2, {"t/#"});
  stage.connect("c", 3);
  s.steps(variant / 2);
  if (s.failed()) return;
  stage["c"].drop(*stage["c"].connections().back(), true);
  s.steps(variant % 25);
  if (!s.failed()) s.world.execute({EventKind::redis_empty});
  s.steps(variant % 40);
  stage.publish_all("pub", "t/0");
  stage.connect("c", variant % 5);
}

Settings two_hosts_strictly() {
  Settings settings = two_hosts();
  settings.strict = true;
  return settings;
}

}  // namespace

const std::vector<Scenario>& adoption_scenarios() {
  static const std::vector<Scenario> all{
      {"a-host-rises-after-its-adoption", 80, three_hosts(), after_its_adoption},
      {"a-host-rises-without-redis", 80, three_hosts(), without_redis},
      {"redis-is-away-for-minutes", 40, three_hosts(), redis_is_away_for_minutes},
      {"a-session-moves-while-a-host-is-dead", 100, three_hosts(), a_session_moves_while_a_host_is_dead},
      {"a-route-is-stored-elsewhere", 40, two_hosts_strictly(), a_route_is_stored_elsewhere},
      {"a-third-gateway-dies-while-a-session-moves", 40, three_hosts(), a_third_gateway_dies},
      {"an-abort-is-lost-with-redis", 160, roaming_clients(), an_abort_is_lost},
  };
  return all;
}

}  // namespace sim
