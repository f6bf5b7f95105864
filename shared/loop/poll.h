// Readiness of one descriptor. Made for thousands of connections: one pointer here, one small allocation behind it, and
// the callback is a function pointer with its argument.
#pragma once

#include <memory>

#include "shared/loop/loop.h"

namespace loop {

inline constexpr int kReadable = 1;
inline constexpr int kWritable = 2;
// Only reported, never asked for: the descriptor has an error (POLLERR). Polling has stopped; a read or write says what
// it is. start() polls again.
inline constexpr int kError = 8;

class Poll {
 public:
  // `events` is a set of kReadable and kWritable, or kError alone.
  using Fn = void (*)(void* context, int events);

  // REQUIRES: `fd` is non-blocking and stays open until this object is destroyed. Does not own it.
  // Throws std::system_error if the descriptor cannot be polled (a regular file).
  Poll(Loop& loop, int fd);
  // Level-triggered. Replaces what was started before; cheap when `events` does not change.
  void start(int events, Fn fn, void* context);
  void stop();
  int events() const { return events_; }

 private:
  struct State;
  struct Close {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Close> state_;
  int events_ = 0;
};

}  // namespace loop
