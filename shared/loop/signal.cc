#include "shared/loop/signal.h"

#include "shared/loop/handle.h"

namespace loop {

struct Signal::State {
  uv_signal_t handle{};
  Fn fn;
};

void Signal::Close::operator()(State* state) const {
  internal::close_state(state);
}

Signal::Signal(Loop& loop, int number, Fn fn) : state_(new State) {
  CHECK(uv_signal_init(loop.raw(), &state_->handle) == 0);
  state_->handle.data = state_.get();
  state_->fn = std::move(fn);
  uv_unref(reinterpret_cast<uv_handle_t*>(&state_->handle));
  CHECK(uv_signal_start(
            &state_->handle,
            [](uv_signal_t* handle, int) { internal::call_replaceable(static_cast<State*>(handle->data)->fn); },
            number) == 0);
}

}  // namespace loop
