// Directed runs of a client that goes from host to host and back while something dies. Places are those of
// cluster_scenarios.cc.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

void publish(Stage& stage) {
  for (const char* name : {"pub0", "pub1"}) stage.publish_all(name, "t/0");
}

// At host 0 with a session, which host 1 claims, then host 0 again, then host 1. `fault` comes in the middle of that.
void roam(Simulation& s, uint64_t variant, const std::function<void(Stage&)>& fault) {
  Stage stage(s);
  stage.join("c", 0, {"t/#"});
  stage.join("pub0", 1);
  stage.join("pub1", 4);
  publish(stage);
  stage.connect("c", 3 + variant % 2);
  s.steps(variant);
  publish(stage);
  fault(stage);
  stage.connect("c", variant % 2);
  s.steps(variant % 30);
  publish(stage);
  stage.connect("c", 4 - variant % 2);
  s.steps(variant % 20);
  publish(stage);
}

void a_gateway_dies(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage& stage) {
    const uint64_t gateway = variant % 4 < 2 ? 2 : 5;
    stage.kill(gateway);
    s.steps(30);
    s.world.start(static_cast<uint32_t>(gateway));
  });
}

void both_gateways_die(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage& stage) {
    for (const uint64_t gateway : {2, 5}) stage.kill(gateway);
    s.steps(30);
    for (const uint32_t gateway : {2U, 5U}) s.world.start(gateway);
  });
}

void a_worker_dies(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage& stage) {
    constexpr uint64_t kWorkers[] = {0, 1, 3, 4};
    stage.kill(kWorkers[variant % 4]);
    s.steps(30);
    s.world.start(static_cast<uint32_t>(kWorkers[variant % 4]));
  });
}

void the_way_to_redis_breaks(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage& stage) { stage.cut_hub(variant % 4 / 2); });
}

void redis_is_emptied(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage&) { s.world.execute({EventKind::redis_empty}); });
}

void redis_has_no_room(Simulation& s, uint64_t variant) {
  roam(s, variant, [&](Stage&) {
    s.world.execute({EventKind::redis_full});
    s.steps(60);
    s.world.execute({EventKind::redis_room});
  });
}

// Who claimed in between gives up: what was claimed before that is still about to come.
void claimants_give_up(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("c", variant % 2 == 0 ? 0 : 4, {"t/#"});
  stage.join("pub0", 1);
  stage.join("pub1", 4);
  for (uint64_t round = 0; round < 4; ++round) {
    for (const uint64_t place : {uint64_t{0}, 3 + variant % 2, uint64_t{1}, uint64_t{4}}) {
      stage.connect("c", place);
      s.steps((variant * (place + 3) + round * 7) % 25);
      if (stage["c"].connections().empty() || (variant + place) % 3 == 0) continue;
      stage["c"].drop(*stage["c"].connections().back(), true);
      s.steps(variant % 11);
    }
    publish(stage);
  }
}

// While nobody knows of the other host: the session with the lower epoch is the one with the connection.
void a_client_is_accepted_on_both_hosts(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub0", 1, {"w/#"});
  stage.join("sub1", 4, {"w/#"});
  Identity& c = stage.join("c", 0);
  s.world.redis().down();
  s.steps(50 + variant);
  const auto connect = [&](uint32_t place, bool clean) {
    const Connection& made = c.connect(*s.world.live(place), {clean, true, true});
    s.until([&] { return c.current() == &made; }, "connects");
  };
  connect(3, true);
  connect(variant % 2, false);
  s.world.redis().up();
}

// Both hosts hold it, and host 0 has the connection and the lower epoch, when a third CONNECT comes to the other worker
// of host 0; in most runs that worker's word does not come through for a while.
void a_connection_is_out_of_date(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const auto old_place = static_cast<uint32_t>(variant % 2);
  const uint32_t new_place = 1 - old_place;
  Identity& c = stage.join(text("c", variant / 2 % 4), old_place);
  Connection& old = *c.current();
  old.held = true;  // the client has gone from it, and nobody sees that
  s.world.redis().down();
  s.steps(50);
  const Connection& other = c.connect(*s.world.live(3), {true, true, true});
  s.until([&] { return c.current() == &other; }, "connects");
  stage.hold(new_place, old_place, variant % 3 != 0);
  s.world.redis().up();
  s.steps(variant * 5);
  c.connect(*s.world.live(new_place), {true, true, true});
  s.steps(300);
  old.held = false;
  stage.hold(new_place, old_place, false);
}

// Host 1 has claimed what host 0 holds, and is gone before it could pull it: a third CONNECT, on host 0, goes after
// that claim.
void a_claimant_host_is_gone(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const auto old_place = static_cast<uint32_t>(variant % 2);
  Identity& c = stage.join(text("c", variant / 2 % 4), old_place);
  c.current()->held = true;
  c.connect(*s.world.live(3), {true, true, true});
  s.steps(variant % 50);
  s.world.execute({EventKind::kill_host, 1});
  stage.cut_hub(0);
  s.steps(variant * 7 % 80);
  c.connect(*s.world.live(1 - old_place), {true, true, true});
  s.steps(600);
}

// Whoever comes when all is well again is to find nothing of a session that a later life of its client has ended.
void finds_no_session(Simulation& s, Identity& c, uint32_t place) {
  s.until_quiet();
  if (s.failed()) return;
  const Connection& made = c.connect(*s.world.live(place), {false, true, false});
  s.until([&] { return c.current() == &made; }, "connects");
  if (!s.failed() && made.session_present) s.trace.fail("C7: what was begun anew has come back", {c.name()});
}

// Host 0 has the session; while Redis is away the client begins anew on host 1, and ends that at once or loses it with
// its worker or host.
void what_began_anew_ends_without_redis(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const std::string name = text("c", variant / 4 % 4);
  Identity& c = stage.join(name, static_cast<uint32_t>(variant / 2 % 2), {"t/#"});
  c.disconnect();
  s.until_quiet();
  s.world.redis().down();
  s.steps(80);
  const Connection& made = c.connect(*s.world.live(3), {true, false, false});
  s.until([&] { return c.current() == &made; }, "connects");
  const uint64_t end = variant % 4;
  if (end == 0) c.disconnect();
  if (end == 1) stage.kill(3);
  if (end == 2) stage.kill(4);
  if (end == 3) s.world.execute({EventKind::kill_host, 1});
  s.steps(variant % 60);
  if (end == 2 && c.current() == &made) c.disconnect();
  if (end == 3) s.world.execute({EventKind::host_back, 1});
  for (const uint32_t place : {3U, 4U}) {
    if (s.world.live(place) == nullptr) s.world.start(place);
  }
  s.steps(variant * 7 % 50);
  s.world.redis().up();
  finds_no_session(s, c, static_cast<uint32_t>(variant % 2));
}

// Both hosts are alone, and the client begins anew on host 0, then on host 1, where it ends; host 1 is back first.
void both_began_anew_without_redis(Simulation& s, uint64_t variant) {
  Stage stage(s);
  Identity& c = stage.join(text("c", variant / 4 % 4), 4);
  s.world.redis().down();
  s.steps(80);
  for (const uint32_t place : {static_cast<uint32_t>(variant % 2), uint32_t{3}}) {
    const Connection& made = c.connect(*s.world.live(place), {true, place != 3, false});
    s.until([&] { return c.current() == &made; }, "connects");
  }
  c.disconnect();
  s.world.execute({EventKind::host_cut, 0});
  s.world.redis().up();
  s.steps(variant * 5 % 400);
  s.world.execute({EventKind::host_mend, 0});
  finds_no_session(s, c, static_cast<uint32_t>(variant / 2 % 2));
}

// A host that holds the session hands it to another, and cannot ask Redis when the client comes back.
void a_client_comes_back_while_its_session_leaves(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 1, {"w/#"});
  Identity& c = stage.join("c", 0, {"t/#"});
  const auto connect = [&](uint32_t place) {
    if (s.world.live(place)->ready) c.connect(*s.world.live(place), {false, true, true});
  };
  connect(static_cast<uint32_t>(3 + variant % 2));
  s.steps(variant);
  if (variant % 3 != 0) c.drop(*c.connections().back(), true);
  stage.cut_hub(0);
  connect(static_cast<uint32_t>(variant / 2 % 2));
  s.steps(variant % 40);
  stage.cut_hub(0);
}

// Claims of three hosts with one worker each that are given up and made anew: whom one claimed it from may have given
// up, and claimed it once more, behind it.
void claimants_of_three_hosts_give_up(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("c", 0);
  for (uint64_t i = 0; i < 18; ++i) {
    stage.connect("c", 2 * ((i * (1 + variant % 5) + i / 3) % 3));
    s.steps((variant + i * 7) % 30);
    const auto& open = stage["c"].connections();
    if (open.size() > 2 + variant % 4) stage["c"].drop(*open[(variant + i) % open.size()], i % 2 == 0);
  }
}

Settings three_hosts() {
  Settings settings = roaming_clients();
  settings.hosts = 3;
  settings.workers = 1;
  return settings;
}

}  // namespace

Settings roaming_clients() {
  Settings settings = two_hosts();
  settings.roaming = true;
  return settings;
}

const std::vector<Scenario>& roaming_scenarios() {
  static const std::vector<Scenario> all{
      {"a-gateway-dies-while-a-client-roams", 60, roaming_clients(), a_gateway_dies},
      {"both-gateways-die-while-a-client-roams", 40, roaming_clients(), both_gateways_die},
      {"a-worker-dies-while-a-client-roams", 60, roaming_clients(), a_worker_dies},
      {"the-way-to-redis-breaks-while-a-client-roams", 60, roaming_clients(), the_way_to_redis_breaks},
      {"redis-is-emptied-while-a-client-roams", 40, roaming_clients(), redis_is_emptied},
      {"redis-is-full-while-a-client-roams", 40, roaming_clients(), redis_has_no_room},
      {"claimants-of-two-hosts-give-up", 60, roaming_clients(), claimants_give_up},
      {"a-client-is-accepted-on-both-hosts", 20, roaming_clients(), a_client_is_accepted_on_both_hosts},
      {"a-connection-is-out-of-date", 120, roaming_clients(), a_connection_is_out_of_date},
      {"a-claimant-host-is-gone", 160, roaming_clients(), a_claimant_host_is_gone},
      {"what-began-anew-ends-without-redis", 160, roaming_clients(), what_began_anew_ends_without_redis},
      {"both-began-anew-without-redis", 120, roaming_clients(), both_began_anew_without_redis},
      {"a-client-comes-back-while-its-session-leaves", 120, roaming_clients(),
       a_client_comes_back_while_its_session_leaves},
      {"claimants-of-three-hosts-give-up", 60, three_hosts(), claimants_of_three_hosts_give_up},
  };
  return all;
}

}  // namespace sim
