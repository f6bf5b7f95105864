// The simulation's time: it moves only when the scheduler says so.
#pragma once

#include "shared/base/clock.h"

namespace sim {

class ManualClock final : public base::Clock {
 public:
  base::MonoMs now_ms() const override { return ms_; }
  base::WallUs wall_us() const override { return kEpochUs + ms_ * 1000; }
  void advance(base::MonoMs ms) { ms_ += ms; }

 private:
  static constexpr base::WallUs kEpochUs = 1'700'000'000'000'000;
  base::MonoMs ms_ = 1'000'000;
};

// A host's clock: its boot was at another time.
class HostClock final : public base::Clock {
 public:
  HostClock(const ManualClock& clock, base::MonoMs offset) : clock_(clock), offset_(offset) {}
  base::MonoMs now_ms() const override { return clock_.now_ms() + offset_; }
  base::WallUs wall_us() const override { return clock_.wall_us(); }

 private:
  const ManualClock& clock_;
  base::MonoMs offset_;
};

}  // namespace sim
