#include "worker/net/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace net {

Listener::Listener(Context& context, base::UniqueFd fd, std::string name, Quota& quota, ConnectionSet& connections)
    : context_(context),
      name_(std::move(name)),
      quota_(quota),
      connections_(connections),
      fd_(std::move(fd)),
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
    starved_ = false;
    const SocketAddress peer(address);
    if (quota_.exhausted()) {
      context_.page.add(metrics::Counter::connections_refused_limit);
      if (context_.log.enabled(logging::Level::debug)) {
        context_.log.debug("connection refused: max_connections", {{"listener", name_}, {"peer", peer.text()}});
      }
      continue;
    }
    if (connections_.add(std::move(fd), peer, quota_)) context_.page.add(metrics::Counter::connections_accepted);
  }
}

void Listener::pause(int error) {
  if (!starved_) {
    context_.log.warn("accepting is paused", {{"listener", name_}, {"error", std::strerror(error)}});
  }
  starved_ = true;
  poll_.stop();
  pause_.start(kPauseMs, 0, [this] { start(); });
}

}  // namespace net
