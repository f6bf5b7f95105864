// Time that moves only when the test says so. The wall clock may be set, forwards and back.
#pragma once

#include "shared/base/clock.h"

namespace support {

class ManualClock final : public base::Clock {
 public:
  base::MonoMs now_ms() const override { return ms_; }
  base::WallUs wall_us() const override {
    return static_cast<base::WallUs>(static_cast<int64_t>(kEpochUs + ms_ * 1000) + set_us_);
  }
  void advance(base::MonoMs ms) { ms_ += ms; }
  void set_wall_by(int64_t seconds) { set_us_ += seconds * 1'000'000; }

 private:
  static constexpr base::WallUs kEpochUs = 1'700'000'000'000'000;
  base::MonoMs ms_ = 1'000'000;
  int64_t set_us_ = 0;
};

}  // namespace support
