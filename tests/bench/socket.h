// TCP sockets on the loopback interface, and the clock that latencies are measured with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace bench {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();

  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

uint64_t now_ns();

// Throws std::system_error made of errno.
[[noreturn]] void throw_errno(const std::string& what);

// A blocking connection to 127.0.0.1:port with TCP_NODELAY; connecting, reading and writing time out.
// `source` chooses the local address 127.0.0.(1 + source), as one address has some 28,000 ports.
Fd connect_loopback(uint16_t port, unsigned source = 0);

// A non-blocking listening socket. Port 0 takes any free one.
Fd listen_loopback(uint16_t port);
// A connection with TCP_NODELAY, or -1 when none is waiting.
Fd accept_from(const Fd& listener);
uint16_t local_port(const Fd& socket);
uint16_t free_port();

void set_non_blocking(const Fd& socket);

// Raises the limit of open files as far as it goes, and returns it. Children inherit it.
size_t raise_file_limit();

}  // namespace bench
