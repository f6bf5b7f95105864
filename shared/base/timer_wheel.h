// Many coarse timers at a small fixed cost each: a hierarchical timing wheel with intrusive nodes.
// Never fires early; fires at the next advance() at or after the deadline, at most kTickMs later than asked.
#pragma once

#include <cstdint>
#include <optional>

#include "shared/base/clock.h"

namespace base {

// Embed one per timer. Destroying an armed node cancels it.
class TimerNode {
 public:
  using Fire = void (*)(TimerNode& node);  // the node is disarmed when called and may be armed again or destroyed
  explicit TimerNode(Fire fire) : fire_(fire) {}
  ~TimerNode() { cancel(); }
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  bool armed() const { return previous_ != nullptr; }
  MonoMs deadline() const { return deadline_; }
  void cancel();

 private:
  friend class TimerWheel;
  TimerNode* previous_ = nullptr;
  TimerNode* next_ = nullptr;
  MonoMs deadline_ = 0;
  Fire fire_;
};

class TimerWheel {
 public:
  static constexpr MonoMs kTickMs = 8;
  explicit TimerWheel(MonoMs now);
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  // (Re)arms. A deadline in the past fires at the next tick.
  void arm(TimerNode& node, MonoMs deadline);
  // Fires everything due at `now`. `now` must not go back.
  void advance(MonoMs now);

 private:
  static constexpr int kBits = 6;
  static constexpr int kSlots = 1 << kBits;
  static constexpr int kLevels = 5;  // 8 ms * 64^5 = 99 days; longer ones are put back until due
  struct Head : TimerNode {
    Head() : TimerNode(nullptr) {}
  };
  void place(TimerNode& node);
  void cascade(int level, uint64_t index);
  int cascade_all(uint64_t tick);
  bool is_empty_below(int level) const;

  uint64_t tick_;  // ticks up to and including this one have fired
  Head heads_[kLevels][kSlots];
};

}  // namespace base
