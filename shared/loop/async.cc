#include "shared/loop/async.h"

#include "shared/loop/handle.h"

namespace loop {

struct Async::State {
  uv_async_t handle{};
  Fn fn;
};

void Async::Close::operator()(State* state) const {
  internal::close_state(state);
}

Async::Async(Loop& loop, Fn fn) {
  auto state = std::make_unique<State>();
  state->fn = std::move(fn);
  CHECK(uv_async_init(loop.raw(), &state->handle, [](uv_async_t* handle) {
          internal::call_replaceable(static_cast<State*>(handle->data)->fn);
        }) == 0);
  state->handle.data = state.get();
  uv_unref(reinterpret_cast<uv_handle_t*>(&state->handle));
  state_.reset(state.release());
}

void Async::send() {
  CHECK(uv_async_send(&state_->handle) == 0);
}

}  // namespace loop
