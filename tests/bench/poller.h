// A thin epoll: level-triggered, each socket known by a number of the caller's.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>

#include "tests/bench/socket.h"

namespace bench {

class Poller {
 public:
  Poller();

  void add(int fd, uint32_t id);
  void watch_writable(int fd, uint32_t id, bool writable);
  void remove(int fd);

  // Waits no longer than `timeout_ns`. The events are valid until the next call; event.data.u32 is the id.
  std::span<const epoll_event> wait(uint64_t timeout_ns);

 private:
  void control(int operation, int fd, uint32_t events, uint32_t id);

  Fd epoll_;
  std::array<epoll_event, 512> events_;
};

}  // namespace bench
