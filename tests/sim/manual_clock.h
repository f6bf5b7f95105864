// The simulation's time: it moves only when the scheduler says so, but that the wall clock is never read twice within a
// microsecond. It may be set, forwards and back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "shared/base/clock.h"

namespace sim {

class ManualClock final : public base::Clock {
 public:
  base::MonoMs now_ms() const override { return ms_; }
  base::WallUs wall_us() const override {
    return kEpochUs + (ms_ + wall_ms_ - set_at_) * 1000 + std::min<uint64_t>(readings_++, 999);
  }
  void advance(base::MonoMs ms) {
    ms_ += ms;
    readings_ = 0;
  }
  void set_wall(uint64_t ms) {
    wall_ms_ = ms;
    set_at_ = ms_;
  }

 private:
  static constexpr base::WallUs kEpochUs = 1'700'000'000'000'000;
  base::MonoMs ms_ = 1'000'000;
  uint64_t wall_ms_ = 0;           // what it was set to,
  base::MonoMs set_at_ = 0;        // and when
  mutable uint64_t readings_ = 0;  // in this millisecond
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
