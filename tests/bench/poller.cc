#include "tests/bench/poller.h"

#include <sys/prctl.h>

#include <cerrno>
#include <ctime>

namespace bench {

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_.get() < 0) throw_errno("epoll_create1");
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);  // the default of 50 us is a whole interval of a paced load
}

void Poller::add(int fd, uint32_t id) {
  control(EPOLL_CTL_ADD, fd, EPOLLIN, id);
}

void Poller::watch_writable(int fd, uint32_t id, bool writable) {
  control(EPOLL_CTL_MOD, fd, writable ? EPOLLIN | EPOLLOUT : EPOLLIN, id);
}

void Poller::remove(int fd) {
  control(EPOLL_CTL_DEL, fd, 0, 0);
}

std::span<const epoll_event> Poller::wait(uint64_t timeout_ns) {
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                         static_cast<long>(timeout_ns % 1'000'000'000)};
  const int count = epoll_pwait2(epoll_.get(), events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
  if (count < 0 && errno != EINTR) throw_errno("epoll_pwait2");
  return {events_.data(), count < 0 ? 0 : static_cast<size_t>(count)};
}

void Poller::control(int operation, int fd, uint32_t events, uint32_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u32 = id;
  if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0) throw_errno("epoll_ctl");
}

}  // namespace bench
