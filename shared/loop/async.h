// Wakes the loop from another thread: the only thing of a loop that may be touched from outside of its thread.
#pragma once

#include <functional>
#include <memory>

#include "shared/loop/loop.h"

namespace loop {

class Async {
 public:
  using Fn = std::function<void()>;
  // Does not keep Loop::run() going.
  Async(Loop& loop, Fn fn);
  // From any thread, while this object lives. Several sends before the loop gets to it are one call.
  void send();

 private:
  struct State;
  struct Close {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Close> state_;
};

}  // namespace loop
