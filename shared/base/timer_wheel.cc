#include "shared/base/timer_wheel.h"

#include <algorithm>

namespace base {

void TimerNode::cancel() {
  if (previous_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = nullptr;
  next_ = nullptr;
}

TimerWheel::TimerWheel(MonoMs now) : tick_(now / kTickMs) {
  for (auto& level : heads_) {
    for (Head& head : level) {
      head.previous_ = &head;
      head.next_ = &head;
    }
  }
}

TimerWheel::~TimerWheel() {
  for (auto& level : heads_) {
    for (Head& head : level) {
      while (head.next_ != &head) head.next_->cancel();
      head.previous_ = nullptr;  // a head is not a timer: nothing to cancel
      head.next_ = nullptr;
    }
  }
}

void TimerWheel::arm(TimerNode& node, MonoMs deadline) {
  node.cancel();
  node.deadline_ = deadline;
  place(node);
}

// A node lies in the lowest level whose span, beginning with the next tick, reaches its tick. (So in cascade(), too, a
// node goes to a lower level, never back into the slot that is being emptied.)
void TimerWheel::place(TimerNode& node) {
  const uint64_t soonest = tick_ + 1;
  const uint64_t furthest = tick_ + (uint64_t{1} << (kBits * kLevels));
  const uint64_t due = node.deadline_ / kTickMs + (node.deadline_ % kTickMs != 0 ? 1 : 0);
  const uint64_t tick = std::clamp(due, soonest, furthest);
  int level = 0;
  while (level + 1 < kLevels && tick - soonest >= (uint64_t{1} << (kBits * (level + 1)))) ++level;
  Head& head = heads_[level][(tick >> (kBits * level)) & (kSlots - 1)];
  node.next_ = &head;
  node.previous_ = head.previous_;
  head.previous_->next_ = &node;
  head.previous_ = &node;
}

void TimerWheel::cascade(int level, uint64_t index) {
  Head& head = heads_[level][index];
  Head moving;
  if (head.next_ == &head) return;
  moving.next_ = head.next_;
  moving.previous_ = head.previous_;
  moving.next_->previous_ = &moving;
  moving.previous_->next_ = &moving;
  head.next_ = &head;
  head.previous_ = &head;
  while (moving.next_ != &moving) {
    TimerNode& node = *moving.next_;
    node.cancel();
    place(node);
  }
  moving.previous_ = nullptr;
  moving.next_ = nullptr;
}

// Nodes of the upper levels come down just before the lower level reaches their span. Returns the highest level of
// which a slot's span begins with that tick.
int TimerWheel::cascade_all(uint64_t tick) {
  int level = 0;
  while (level + 1 < kLevels && (tick & ((uint64_t{1} << (kBits * (level + 1))) - 1)) == 0) ++level;
  for (int l = level; l > 0; --l) cascade(l, (tick >> (kBits * l)) & (kSlots - 1));
  return level;
}

bool TimerWheel::is_empty_below(int level) const {
  const auto empty = [](const Head& head) { return head.next_ == &head; };
  return std::all_of(heads_, heads_ + level, [&](const auto& heads) { return std::ranges::all_of(heads, empty); });
}

void TimerWheel::advance(MonoMs now) {
  const uint64_t target = now / kTickMs;
  while (tick_ < target) {
    const uint64_t next = tick_ + 1;
    const int level = cascade_all(next);
    if (level > 1 && is_empty_below(level)) {  // nothing comes down before the span has ended
      tick_ = std::min(target, next + (uint64_t{1} << (kBits * level)) - 1);
      continue;
    }
    tick_ = next;
    Head& head = heads_[0][next & (kSlots - 1)];
    Head due;  // what fires may arm again: walk a detached list
    if (head.next_ == &head) continue;
    due.next_ = head.next_;
    due.previous_ = head.previous_;
    due.next_->previous_ = &due;
    due.previous_->next_ = &due;
    head.next_ = &head;
    head.previous_ = &head;
    while (due.next_ != &due) {
      TimerNode& node = *due.next_;
      node.cancel();
      if (node.deadline_ > now) {
        place(node);  // was further away than the wheel spans
      } else {
        node.fire_(node);
      }
    }
    due.previous_ = nullptr;
    due.next_ = nullptr;
  }
}

}  // namespace base
