#include "shared/loop/hook.h"

#include "shared/loop/handle.h"

namespace loop {

struct PrepareTraits {
  using Handle = uv_prepare_t;
  static constexpr bool kKeepsLoopAlive = false;
  static int init(uv_loop_t* loop, Handle* handle) { return uv_prepare_init(loop, handle); }
  static int start(Handle* handle, void (*fn)(Handle*)) { return uv_prepare_start(handle, fn); }
  static void stop(Handle* handle) { uv_prepare_stop(handle); }
};

struct CheckTraits {
  using Handle = uv_check_t;
  static constexpr bool kKeepsLoopAlive = false;
  static int init(uv_loop_t* loop, Handle* handle) { return uv_check_init(loop, handle); }
  static int start(Handle* handle, void (*fn)(Handle*)) { return uv_check_start(handle, fn); }
  static void stop(Handle* handle) { uv_check_stop(handle); }
};

struct IdleTraits {
  using Handle = uv_idle_t;
  static constexpr bool kKeepsLoopAlive = true;
  static int init(uv_loop_t* loop, Handle* handle) { return uv_idle_init(loop, handle); }
  static int start(Handle* handle, void (*fn)(Handle*)) { return uv_idle_start(handle, fn); }
  static void stop(Handle* handle) { uv_idle_stop(handle); }
};

template <typename Traits>
struct Hook<Traits>::State {
  typename Traits::Handle handle{};
  Fn fn;
};

template <typename Traits>
void Hook<Traits>::Close::operator()(State* state) const {
  internal::close_state(state);
}

template <typename Traits>
Hook<Traits>::Hook(Loop& loop) : state_(new State) {
  CHECK(Traits::init(loop.raw(), &state_->handle) == 0);
  state_->handle.data = state_.get();
  if (!Traits::kKeepsLoopAlive) uv_unref(reinterpret_cast<uv_handle_t*>(&state_->handle));
}

template <typename Traits>
void Hook<Traits>::start(Fn fn) {
  state_->fn = std::move(fn);
  CHECK(Traits::start(&state_->handle, [](typename Traits::Handle* handle) {
          internal::call_replaceable(static_cast<State*>(handle->data)->fn);
        }) == 0);
}

template <typename Traits>
void Hook<Traits>::stop() {
  Traits::stop(&state_->handle);
}

template <typename Traits>
bool Hook<Traits>::active() const {
  return uv_is_active(reinterpret_cast<const uv_handle_t*>(&state_->handle)) != 0;
}

template class Hook<PrepareTraits>;
template class Hook<CheckTraits>;
template class Hook<IdleTraits>;

}  // namespace loop
