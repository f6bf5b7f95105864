// Internal to shared/loop: the one place that closes libuv handles. libuv may touch a handle's memory until its close
// callback has run, so the memory (and the callback object in it) dies there and not before. That also makes it safe to
// destroy a handle's owner inside the handle's own callback.
#pragma once

#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <utility>

#include "shared/base/check.h"

namespace loop::internal {

// State is a struct whose first member is `handle`, a libuv handle that has been initialised.
template <typename State>
void close_state(State* state) {
  if (state == nullptr) return;
  auto* handle = reinterpret_cast<uv_handle_t*>(&state->handle);
  handle->data = state;
  uv_close(handle, [](uv_handle_t* closed) { delete static_cast<State*>(closed->data); });
}

// Calls our code from libuv's. An exception that gets here is our bug: it must not unwind C frames.
template <typename Fn>
void guarded(Fn&& fn) noexcept {
  try {
    std::forward<Fn>(fn)();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "exception in a loop callback: %s\n", error.what());
    std::abort();
  }
}

// Calls `fn`, which may replace itself (by starting its handle again) or destroy its handle's owner meanwhile.
// REQUIRES: the object that holds `fn` lives until the loop's closing phase.
template <typename Fn, typename... Args>
void call_replaceable(Fn& fn, Args... args) noexcept {
  Fn running = std::exchange(fn, nullptr);
  guarded([&] { running(args...); });
  if (!fn) fn = std::move(running);
}

}  // namespace loop::internal
