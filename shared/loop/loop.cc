#include "shared/loop/loop.h"

#include <uv.h>

#include <new>

#include "shared/base/check.h"

namespace loop {

Loop::Loop() : loop_(new uv_loop_t) {
  if (uv_loop_init(loop_.get()) != 0) {
    delete loop_.release();
    throw std::bad_alloc();
  }
}

Loop::~Loop() = default;

void Loop::Free::operator()(uv_loop_s* loop) const {
  // Handles that are closing count as alive until their close callback has run.
  uv_run(loop, UV_RUN_NOWAIT);
  // So do requests that could not be cancelled any more (a name that is being resolved).
  while (loop->active_reqs.count > 0) uv_run(loop, UV_RUN_ONCE);
  CHECK(uv_loop_close(loop) == 0);
  delete loop;
}

void Loop::run() {
  uv_run(loop_.get(), UV_RUN_DEFAULT);
}
bool Loop::run_once() {
  return uv_run(loop_.get(), UV_RUN_ONCE) != 0;
}
bool Loop::run_pending() {
  return uv_run(loop_.get(), UV_RUN_NOWAIT) != 0;
}
void Loop::stop() {
  uv_stop(loop_.get());
}
uint64_t Loop::now_ms() const {
  return uv_now(loop_.get());
}
void Loop::update_time() {
  uv_update_time(loop_.get());
}

}  // namespace loop
