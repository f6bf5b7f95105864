#include "shared/base/clock.h"

#include <ctime>

namespace base {
namespace {
uint64_t read_us(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000 + static_cast<uint64_t>(ts.tv_nsec) / 1000;
}
}  // namespace

MonoMs SystemClock::now_ms() const {
  return read_us(CLOCK_MONOTONIC) / 1000;
}
WallUs SystemClock::wall_us() const {
  return read_us(CLOCK_REALTIME);
}
uint64_t boottime_ms() {
  return read_us(CLOCK_BOOTTIME) / 1000;
}

}  // namespace base
