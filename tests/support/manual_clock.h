// Time that moves only when the test says so.
#pragma once

#include "shared/base/clock.h"

namespace support {

class ManualClock final : public base::Clock {
 public:
  base::MonoMs now_ms() const override { return ms_; }
  base::WallUs wall_us() const override { return kEpochUs + ms_ * 1000; }
  void advance(base::MonoMs ms) { ms_ += ms; }

 private:
  static constexpr base::WallUs kEpochUs = 1'700'000'000'000'000;
  base::MonoMs ms_ = 1'000'000;
};

}  // namespace support
