#include "tests/bench/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <system_error>

namespace bench {
namespace {

constexpr int kTimeoutSeconds = 10;

sockaddr_in loopback(uint16_t port, unsigned host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host);
  return address;
}

template <typename T>
void set_option(const Fd& socket, int level, int name, const T& value) {
  if (setsockopt(socket.get(), level, name, &value, sizeof value) != 0) throw_errno("setsockopt");
}

Fd tcp_socket() {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) throw_errno("socket");
  return socket;
}

void bind_to(const Fd& socket, const sockaddr_in& address) {
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) throw_errno("bind");
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Fd connect_loopback(uint16_t port, unsigned source) {
  Fd socket = tcp_socket();
  const timeval timeout{kTimeoutSeconds, 0};
  set_option(socket, SOL_SOCKET, SO_SNDTIMEO, timeout);
  set_option(socket, SOL_SOCKET, SO_RCVTIMEO, timeout);
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (source > 0) {
    set_option(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    bind_to(socket, loopback(0, source));
  }
  const sockaddr_in address = loopback(port, 0);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) throw_errno("connect");
  return socket;
}

Fd accept_from(const Fd& listener) {
  Fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket.get() >= 0) set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  return socket;
}

Fd listen_loopback(uint16_t port) {
  Fd socket = tcp_socket();
  set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  bind_to(socket, loopback(port, 0));
  if (listen(socket.get(), SOMAXCONN) != 0) throw_errno("listen");
  set_non_blocking(socket);
  return socket;
}

uint16_t local_port(const Fd& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) throw_errno("getsockname");
  return ntohs(address.sin_port);
}

uint16_t free_port() {
  const Fd socket = tcp_socket();
  bind_to(socket, loopback(0, 0));
  return local_port(socket);
}

void set_non_blocking(const Fd& socket) {
  const int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0) throw_errno("fcntl");
}

size_t raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) throw_errno("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) throw_errno("setrlimit");
  return limit.rlim_cur;
}

}  // namespace bench
