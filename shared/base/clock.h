// Time as an argument: the broker reads it only through these interfaces, so tests and the simulation own it.
#pragma once

#include <cstdint>

namespace base {

// Milliseconds of a clock that never goes back; its zero is arbitrary. For timeouts.
using MonoMs = uint64_t;
// Microseconds since the Unix epoch; may jump. For epochs and for what is stored.
using WallUs = uint64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonoMs now_ms() const = 0;
  virtual WallUs wall_us() const = 0;
};

// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
 public:
  MonoMs now_ms() const override;
  WallUs wall_us() const override;
};

// CLOCK_BOOTTIME: goes on while the machine is suspended.
uint64_t boottime_ms();

}  // namespace base
