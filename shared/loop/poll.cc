#include "shared/loop/poll.h"

#include <system_error>

#include "shared/loop/handle.h"

namespace loop {

static_assert(kReadable == UV_READABLE && kWritable == UV_WRITABLE);

struct Poll::State {
  uv_poll_t handle{};
  Fn fn = nullptr;
  void* context = nullptr;
};

void Poll::Close::operator()(State* state) const {
  internal::close_state(state);
}

Poll::Poll(Loop& loop, int fd) {
  auto state = std::make_unique<State>();
  if (const int error = uv_poll_init(loop.raw(), &state->handle, fd); error != 0) {
    throw std::system_error(-error, std::generic_category(), "cannot poll a descriptor");
  }
  state->handle.data = state.get();
  state_.reset(state.release());
}

void Poll::start(int events, Fn fn, void* context) {
  state_->fn = fn;
  state_->context = context;
  // libuv stops a handle by itself on POLLERR, hence the second question.
  if (events == events_ && uv_is_active(reinterpret_cast<const uv_handle_t*>(&state_->handle)) != 0) return;
  events_ = events;
  CHECK(uv_poll_start(&state_->handle, events, [](uv_poll_t* handle, int status, int ready) {
          auto* state = static_cast<State*>(handle->data);
          internal::guarded([&] { state->fn(state->context, status < 0 ? kError : ready); });
        }) == 0);
}

void Poll::stop() {
  events_ = 0;
  uv_poll_stop(&state_->handle);
}

}  // namespace loop
