// The model of Redis does what every hub must do.
#include "tests/sim/model_hub.h"

#include <doctest/doctest.h>

#include "tests/sim/manual_clock.h"
#include "tests/support/hub_contract.h"

namespace {

class ModelWorld final : public test::HubWorld {
 public:
  explicit ModelWorld(uint64_t seed) : random_(seed) {}

  cluster::Hub& make_hub() override {
    hubs_.push_back(std::make_unique<sim::ModelHub>(redis_, random_));
    return *hubs_.back();
  }
  void kill(cluster::Hub& hub) override {
    std::erase_if(hubs_, [&hub](const auto& other) { return other.get() == &hub; });
  }
  bool run_until(const std::function<bool()>& done, uint64_t ms) override {
    for (const uint64_t end = clock_.now_ms() + ms; !done(); clock_.advance(1)) {
      if (clock_.now_ms() > end) return false;
      for (size_t i = 0; i < hubs_.size(); ++i) run(*hubs_[i]);
    }
    return true;
  }
  void cut(cluster::Hub& hub) override { static_cast<sim::ModelHub&>(hub).break_off(); }
  void restart_empty() override { redis_.restart_empty(); }

 private:
  void run(sim::ModelHub& hub) {
    if (hub.can_notice()) hub.break_off();
    if (hub.can_connect()) hub.connect();
    if (hub.can_carry_out()) hub.carry_out(1 + random_.below(300));
    if (hub.can_answer()) hub.answer(1 + random_.below(300));
    if (hub.can_read_on()) hub.read_on();
    if (hub.can_push()) hub.push();
    hub.run_completions();
    hub.flush();
  }

  base::Random random_;
  sim::ManualClock clock_;
  sim::RedisModel redis_{clock_};
  std::vector<std::unique_ptr<sim::ModelHub>> hubs_;
};

}  // namespace

TEST_CASE("model_hub: does what every hub must do") {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    test::check_hubs([seed] { return std::make_unique<ModelWorld>(seed); });
  }
}

TEST_CASE("model_hub: goes back to an older state and says so") {
  sim::ManualClock clock;
  sim::RedisModel redis(clock);
  const auto joined = redis.join("a", 1, 1000).second;
  const sim::RedisModel::Caller a{joined.key, 1};
  redis.hold(a, "x", 5);
  redis.take_snapshot();
  redis.hold(a, "y", 6);
  redis.restart_older();
  CHECK(redis.holder("x") == a.key);
  CHECK(redis.holder("y").empty());
  CHECK(redis.cluster_id() != joined.cluster_id);
}
