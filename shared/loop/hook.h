// Calls once a turn of the loop. A turn is: timers, Idle, Prepare, wait for events and handle them, Check, closing.
//
// Prepare runs before the loop waits, Check after the events of the turn were handled (the place to flush what they
// produced). Both do not keep Loop::run() going. An active Idle makes the loop spin: it is for work that is to be done
// in slices between events; stop it when the work is done.
#pragma once

#include <functional>
#include <memory>

#include "shared/loop/loop.h"

namespace loop {

// A hook of one of libuv's three kinds; Traits is private to hook.cc.
template <typename Traits>
class Hook {
 public:
  using Fn = std::function<void()>;
  explicit Hook(Loop& loop);
  void start(Fn fn);
  void stop();
  bool active() const;

 private:
  struct State;
  struct Close {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Close> state_;
};

struct PrepareTraits;
struct CheckTraits;
struct IdleTraits;
using Prepare = Hook<PrepareTraits>;
using Check = Hook<CheckTraits>;
using Idle = Hook<IdleTraits>;

}  // namespace loop
