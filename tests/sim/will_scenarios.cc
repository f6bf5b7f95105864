// Directed runs of a client whose worker dies with its will, and which begins anew at another before the will has
// fired.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

void start(Simulation& s) {
  if (s.world.live(0) == nullptr) s.world.start(0);
}

// At worker 0 with a will, then at `next`. Worker 0's replacement dies as well, when what it has told the others is not
// in its store yet, and its successor hears late from `late`.
void begin_anew(Simulation& s, Stage& stage, uint32_t next, uint64_t late, uint64_t variant) {
  const bool persistent = variant % 2 == 0;
  Identity& c = stage.join("c", 0, {}, persistent);
  if (s.failed()) return;
  const Connection& first = c.connect(*s.world.live(0), {true, persistent, true});
  s.until([&] { return c.current() == &first; }, "connects");
  stage.kill(0);
  s.steps(variant % 20);
  c.connect(*s.world.live(next), {true, persistent, false});
  start(s);
  stage.hang_disk(0);
  s.steps(60 + variant);
  stage.kill(0);
  start(s);
  for (uint64_t step = 0; step < 60; ++step) {
    stage.hold(late, 0, true);  // as soon as they are linked
    s.steps(1);
  }
  stage.hold(late, 0, false);
}

void on_its_host(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 1, {"w/#"});
  begin_anew(s, stage, 1, 1, variant);
}

void in_a_cluster(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub0", 1, {"w/#"});
  stage.join("sub1", 4, {"w/#"});
  begin_anew(s, stage, variant % 4 < 2 ? 1 : 4, 2, variant);
}

Settings two_workers() {
  Settings settings;
  settings.workers = 2;
  settings.clients = 0;
  return settings;
}

}  // namespace

const std::vector<Scenario>& will_scenarios() {
  static const std::vector<Scenario> all{
      {"a-client-begins-anew-after-its-worker-died", 40, two_workers(), on_its_host},
      {"a-client-begins-anew-after-its-worker-died-in-a-cluster", 160, roaming_clients(), in_a_cluster},
  };
  return all;
}

}  // namespace sim
