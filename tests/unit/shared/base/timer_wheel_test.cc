#include "shared/base/timer_wheel.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <vector>

#include "shared/base/random.h"

namespace base {
namespace {

// A timer that notes when it fired and then does what it is told.
struct Timer : TimerNode {
  Timer() : TimerNode([](TimerNode& node) { static_cast<Timer&>(node).fired(); }) {}
  void fired() {
    ++times;
    if (then) then();
  }
  int times = 0;
  std::function<void()> then;
};

constexpr MonoMs kTick = TimerWheel::kTickMs;
constexpr MonoMs kDay = 86'400'000;

// Advances tick by tick and says when the timer fires; 0 if not within `limit`.
MonoMs fires_at(TimerWheel& wheel, Timer& timer, MonoMs from, MonoMs limit) {
  for (MonoMs now = from; now <= from + limit; now += kTick) {
    wheel.advance(now);
    if (timer.times > 0) return now;
  }
  return 0;
}

}  // namespace

TEST_CASE("timer_wheel: fires once, not early, at most a tick late") {
  for (const MonoMs start : {MonoMs{0}, MonoMs{1}, 63 * kTick, 64 * kTick, 4095 * kTick, 4096 * kTick + 3}) {
    for (MonoMs delay = 1; delay < 140 * kTick; ++delay) {
      CAPTURE(start);
      CAPTURE(delay);
      TimerWheel wheel(start);
      Timer timer;
      wheel.arm(timer, start + delay);
      MonoMs fired = 0;
      for (MonoMs now = start; fired == 0 && now <= start + delay + kTick; ++now) {
        wheel.advance(now);
        if (timer.times == 1) fired = now;
      }
      REQUIRE(fired >= start + delay);
      REQUIRE(fired <= start + delay + kTick);
      wheel.advance(start + 10'000 * kTick);
      REQUIRE(timer.times == 1);
    }
  }
}

TEST_CASE("timer_wheel: around every power of 64 ticks, from any phase") {
  for (const uint64_t span : {64ull, 4096ull, 262'144ull}) {
    for (const uint64_t phase : {0ull, 1ull, 62ull, 63ull, 64ull, 4094ull, 4095ull, 4096ull}) {
      for (const int64_t offset : {-2, -1, 0, 1, 2, 62, 63, 64}) {
        CAPTURE(span);
        CAPTURE(phase);
        CAPTURE(offset);
        const MonoMs start = phase * kTick;
        TimerWheel wheel(start);
        Timer timer;
        const MonoMs deadline = start + (span + static_cast<uint64_t>(offset)) * kTick;
        wheel.arm(timer, deadline);
        wheel.advance(deadline - 1);
        REQUIRE(timer.times == 0);
        wheel.advance(deadline);
        REQUIRE(timer.times == 1);
      }
    }
  }
}

TEST_CASE("timer_wheel: random deadlines fire on time, in any stride") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    MonoMs now = random.below(1'000'000);
    TimerWheel wheel(now);
    std::vector<std::unique_ptr<Timer>> timers;
    for (int i = 0; i < 300; ++i) timers.push_back(std::make_unique<Timer>());
    for (int round = 0; round < 300; ++round) {
      for (int i = 0; i < 10; ++i) {
        Timer& t = *timers[random.below(timers.size())];
        t.times = 0;
        wheel.arm(t, now + 1 + (random.below(uint64_t{1} << random.below(24))));
        if (random.one_in(10)) t.cancel();
      }
      const MonoMs before = now;
      now += random.below(random.one_in(5) ? 200'000 : 500);
      wheel.advance(now);
      for (const auto& t : timers) {
        if (t->armed()) REQUIRE(t->deadline() + kTick > now);
        if (!t->armed() && t->times > 0 && t->deadline() > before) REQUIRE(t->deadline() <= now);
        REQUIRE(t->times <= 1);
      }
    }
  }
}

TEST_CASE("timer_wheel: a deadline in the past fires at the next tick") {
  TimerWheel wheel(1000 * kTick);
  Timer timer;
  wheel.arm(timer, 5);
  CHECK(fires_at(wheel, timer, 1000 * kTick, 10 * kTick) == 1001 * kTick);
}

TEST_CASE("timer_wheel: arming again moves the deadline") {
  TimerWheel wheel(0);
  Timer timer;
  wheel.arm(timer, 10 * kTick);
  wheel.arm(timer, 20 * kTick);
  wheel.advance(19 * kTick);
  CHECK(timer.times == 0);
  CHECK(timer.deadline() == 20 * kTick);
  wheel.advance(20 * kTick);
  CHECK(timer.times == 1);
}

TEST_CASE("timer_wheel: deadlines beyond the wheel's span, and never") {
  TimerWheel wheel(0);
  Timer far;
  Timer never;
  wheel.arm(far, 150 * kDay);
  wheel.arm(never, UINT64_MAX);
  wheel.advance(150 * kDay - 1);
  CHECK(far.times == 0);
  wheel.advance(150 * kDay);
  CHECK(far.times == 1);
  CHECK(never.times == 0);
  CHECK(never.armed());
}

TEST_CASE("timer_wheel: destroying or cancelling disarms") {
  TimerWheel wheel(0);
  auto timer = std::make_unique<Timer>();
  Timer cancelled;
  wheel.arm(*timer, 10);
  wheel.arm(cancelled, 10);
  cancelled.cancel();
  CHECK_FALSE(cancelled.armed());
  timer.reset();
  wheel.advance(1000);
  CHECK(cancelled.times == 0);
}

TEST_CASE("timer_wheel: a timer may arm itself again when it fires") {
  TimerWheel wheel(0);
  Timer timer;
  MonoMs next = 10 * kTick;
  timer.then = [&] { wheel.arm(timer, next += 10 * kTick); };
  wheel.arm(timer, next);
  wheel.advance(100 * kTick);
  CHECK(timer.times == 10);
  CHECK(timer.armed());
}

TEST_CASE("timer_wheel: a timer may destroy itself and others that are due") {
  TimerWheel wheel(0);
  std::vector<std::unique_ptr<Timer>> timers(3);
  int fired = 0;
  for (auto& t : timers) {
    t = std::make_unique<Timer>();
    t->then = [&] {
      ++fired;
      timers.clear();
    };
    wheel.arm(*t, 10);
  }
  wheel.advance(100);
  CHECK(fired == 1);
}

TEST_CASE("timer_wheel: the wheel may go before its timers") {
  Timer timer;
  {
    TimerWheel wheel(0);
    wheel.arm(timer, 10);
  }
  CHECK_FALSE(timer.armed());
}

}  // namespace base
