// Directed runs of a QoS 2 publisher that goes to another worker while what it had sent is under way. It sends again
// what was not acknowledged, which its session says was accepted, and then more: that must not arrive first.
#include "tests/sim/scenarios.h"
#include "tests/sim/stage.h"

namespace sim {
namespace {

void publish(Simulation& s, Stage& stage, int count) {
  for (; count > 0; --count) {
    if (s.failed() || stage["pub"].current() == nullptr) return;
    stage["pub"].publish("t/0", proto::QoS::exactly_once);
  }
}

// From worker 0 to worker 1, and publishes there, while what it had sent is with worker 0.
void move(Simulation& s, Stage& stage, uint64_t variant) {
  publish(s, stage, 3);
  s.steps(variant % 50);
  stage["pub"].drop(true);
  stage.connect("pub", 1);
  s.steps(100 + variant % 30);
  publish(s, stage, 3);
  s.steps(20 + variant % 20);
}

void to_a_worker_that_is_slow(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 2, {"t/#"});
  stage.join("pub", 0);
  stage.hold(0, 2, true);
  move(s, stage, variant);
  if (variant % 3 != 0) stage.kill(2);
  if (variant % 3 == 2) stage.kill(0);
  stage.hold(0, 2, false);
  s.steps(60 + variant % 60);
  publish(s, stage, 2);
}

void to_another_host(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 4, {"t/#"});
  stage.join("pub", 0);
  s.world.redis().down();
  move(s, stage, variant);
  if (variant % 4 != 0) stage.kill(2);
  s.steps(variant % 30);
  if (variant % 2 == 1) stage.kill(0);
  if (variant % 4 == 3) stage.kill(1);
  s.steps(variant % 20);
  s.world.redis().up();
}

Settings three_workers() {
  Settings settings;
  settings.workers = 3;
  settings.clients = 0;
  return settings;
}

}  // namespace

const std::vector<Scenario>& order_scenarios() {
  static const std::vector<Scenario> all{
      {"a-publisher-moves-and-a-worker-is-slow", 240, three_workers(), to_a_worker_that_is_slow},
      {"a-publisher-moves-while-redis-is-away", 240, two_hosts(), to_another_host},
  };
  return all;
}

}  // namespace sim
