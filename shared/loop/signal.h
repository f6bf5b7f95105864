// One signal number, delivered on the loop. Several Signals of one number all hear it.
#pragma once

#include <functional>
#include <memory>

#include "shared/loop/loop.h"

namespace loop {

class Signal {
 public:
  using Fn = std::function<void()>;
  // Does not keep Loop::run() going.
  Signal(Loop& loop, int number, Fn fn);

 private:
  struct State;
  struct Close {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Close> state_;
};

}  // namespace loop
