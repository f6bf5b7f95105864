#include "worker/net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace net {
namespace {

int files_for_clients() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > INT_MAX) return INT_MAX;
  const int all = static_cast<int>(files.rlim_cur);
  return all - std::min(Listener::kReservedFiles, all / 4);
}

}  // namespace

Listener::Listener(Context& context, base::UniqueFd fd, std::string name, Quota& quota, ConnectionSet& connections)
    : context_(context),
      name_(std::move(name)),
      quota_(quota),
      connections_(connections),
      fd_(std::move(fd)),
      file_limit_(files_for_clients()),
      pause_(context.loop),
      poll_(context.loop, fd_.get()) {
  // Accepted sockets inherit it, which saves a system call for each.
  const int on = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void Listener::start() {
  poll_.start(
      loop::kReadable, [](void* self, int) { static_cast<Listener*>(self)->on_readable(); }, this);
}

void Listener::stop() {
  poll_.stop();
  pause_.stop();
}

void Listener::on_readable() {
  context_.begin_work();
  int failures = 0;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    base::UniqueFd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EAGAIN) return;
      // A connection that is gone again (ECONNABORTED and the like) says nothing about the next one.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || ++failures == kMaxFailures) {
        return pause(errno);
      }
      continue;
    }
    accept(std::move(fd), SocketAddress(address));
  }
}

void Listener::accept(base::UniqueFd fd, const SocketAddress& peer) {
  const bool files_are_short = fd.get() >= file_limit_;
  if (!files_are_short && !quota_.exhausted()) return connections_.add(std::move(fd), peer, quota_);
  context_.page.add(metrics::Counter::connections_refused_limit);
  warn("connections are refused", files_are_short ? "too many open files" : "max_connections");
}

void Listener::pause(int error) {
  warn("accepting is paused", std::strerror(error));
  poll_.stop();
  pause_.start(kPauseMs, 0, [this] { start(); });
}

void Listener::warn(std::string_view event, std::string_view reason) {
  const uint64_t now = context_.loop.now_ms();
  if (warned_at_ != 0 && now - warned_at_ < 1000) return;
  warned_at_ = now;
  context_.log.warn(event, {{"listener", name_}, {"reason", reason}});
}

}  // namespace net
