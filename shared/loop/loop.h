// The event loop of a process: owns the uv_loop_t. Everything with a handle (Timer, Poll, Signal, the hooks) is made
// for one Loop, must be destroyed before it, and is used only from the thread that runs it.
#pragma once

#include <cstdint>
#include <memory>

struct uv_loop_s;

namespace loop {

class Loop {
 public:
  Loop();
  // Finishes the closing of handles that were destroyed. CHECKs that none is left.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop() or until no active handle is left.
  void run();
  // One turn: waits for at least one event if there is an active handle. False: nothing is active any more.
  bool run_once();
  // One turn without waiting.
  bool run_pending();
  void stop();
  // Milliseconds of a monotonic clock, read once a turn.
  uint64_t now_ms() const;
  // Reads the clock again: after long work, before a timer is set.
  void update_time();

  uv_loop_s* raw() const { return loop_.get(); }

 private:
  struct Free {
    void operator()(uv_loop_s* loop) const;
  };
  std::unique_ptr<uv_loop_s, Free> loop_;
};

}  // namespace loop
