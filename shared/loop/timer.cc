#include "shared/loop/timer.h"

#include "shared/loop/handle.h"

namespace loop {

struct Timer::State {
  uv_timer_t handle{};
  Fn fn;
};

void Timer::Close::operator()(State* state) const {
  internal::close_state(state);
}

Timer::Timer(Loop& loop) : state_(new State) {
  CHECK(uv_timer_init(loop.raw(), &state_->handle) == 0);
  state_->handle.data = state_.get();
}

void Timer::start(uint64_t ms, uint64_t repeat_ms, Fn fn) {
  state_->fn = std::move(fn);
  CHECK(uv_timer_start(
            &state_->handle,
            [](uv_timer_t* handle) { internal::call_replaceable(static_cast<State*>(handle->data)->fn); }, ms,
            repeat_ms) == 0);
}

void Timer::stop() {
  uv_timer_stop(&state_->handle);
}
bool Timer::active() const {
  return uv_is_active(reinterpret_cast<const uv_handle_t*>(&state_->handle)) != 0;
}
void Timer::unref() {
  uv_unref(reinterpret_cast<uv_handle_t*>(&state_->handle));
}

}  // namespace loop
