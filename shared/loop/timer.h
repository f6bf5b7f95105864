// A one-shot or repeating timer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "shared/loop/loop.h"

namespace loop {

class Timer {
 public:
  using Fn = std::function<void()>;
  explicit Timer(Loop& loop);
  // Calls fn after `ms`, then every `repeat_ms` (0: once). Replaces what was started before. Counts from
  // Loop::now_ms().
  void start(uint64_t ms, uint64_t repeat_ms, Fn fn);
  void stop();
  bool active() const;
  // An unreferenced timer does not keep Loop::run() going.
  void unref();

 private:
  struct State;
  struct Close {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Close> state_;
};

}  // namespace loop
