#include "tests/redis/proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

namespace test {
namespace {

sockaddr_in local(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Proxy::Proxy(loop::Loop& loop, uint16_t server_port) : loop_(loop), server_port_(server_port) {
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address = local(0);
  socklen_t size = sizeof address;
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  poll_ = std::make_unique<loop::Poll>(loop_, listener_.get());
  poll_->start(
      loop::kReadable, [](void* self, int) { static_cast<Proxy*>(self)->accept(); }, this);
}

Proxy::~Proxy() {
  cut();
  reap();
  poll_.reset();
}

void Proxy::accept() {
  reap();
  while (true) {
    base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    if (refuse_) continue;
    base::UniqueFd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = local(server_port_);
    if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) continue;
    ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
    no_delay(fd.get());
    no_delay(server.get());
    auto pair = std::make_unique<Pair>();
    pair->proxy = this;
    pair->client.fd = std::move(fd);
    pair->server.fd = std::move(server);
    for (Side* side : {&pair->client, &pair->server}) {
      side->poll = std::make_unique<loop::Poll>(loop_, side->fd.get());
      if (!stalled_) watch(*pair, *side);
    }
    pairs_.push_back(std::move(pair));
  }
}

void Proxy::watch(Pair& pair, Side& side) {
  side.poll->start(
      loop::kReadable | (side.out.empty() ? 0 : loop::kWritable),
      [](void* context, int) {
        Pair& moved = *static_cast<Pair*>(context);
        moved.proxy->move(moved);
      },
      &pair);
}

void Proxy::move(Pair& pair) {
  if (pair.dead) return;
  const bool fine = pump(pair, pair.client, pair.server, false) && pump(pair, pair.server, pair.client, true) &&
                    write(pair.client) && write(pair.server);
  if (!fine || cut_after_ == 0) pair.dead = true;
  if (cut_after_ == 0) {
    cut_after_ = SIZE_MAX;
    cut();
  }
  if (pair.dead) {
    for (Side* side : {&pair.client, &pair.server}) {
      side->poll.reset();
      side->fd.reset();
    }
    return;
  }
  watch(pair, pair.client);
  watch(pair, pair.server);
}

bool Proxy::pump(Pair& pair, Side& from, Side& to, bool from_server) {
  char buffer[65536];
  while (!pair.dead && to.out.size() < 4 * sizeof buffer) {
    const ssize_t n = ::recv(from.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    std::string bytes(buffer, static_cast<size_t>(n));
    if (from_server && change_) bytes = change_(std::move(bytes));
    if (from_server && cut_after_ != SIZE_MAX) {
      if (bytes.size() > cut_after_) bytes.resize(cut_after_);
      cut_after_ -= bytes.size();
    }
    to.out += bytes;
    if (!write(to)) return false;
    if (cut_after_ == 0) return true;
  }
  return true;
}

bool Proxy::write(Side& side) {
  while (!side.out.empty()) {
    const ssize_t n = ::send(side.fd.get(), side.out.data(), side.out.size(), MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    side.out.erase(0, static_cast<size_t>(n));
  }
  return true;
}

void Proxy::cut() {
  for (const auto& pair : pairs_) {
    pair->dead = true;
    for (Side* side : {&pair->client, &pair->server}) {
      side->poll.reset();
      side->fd.reset();
    }
  }
}

void Proxy::stall(bool on) {
  stalled_ = on;
  for (const auto& pair : pairs_) {
    if (pair->dead) continue;
    for (Side* side : {&pair->client, &pair->server}) {
      if (on) {
        side->poll->stop();
      } else {
        watch(*pair, *side);
      }
    }
  }
}

void Proxy::reap() {
  std::erase_if(pairs_, [](const auto& pair) { return pair->dead; });
}

size_t Proxy::connections() const {
  size_t alive = 0;
  for (const auto& pair : pairs_) alive += pair->dead ? 0 : 1;
  return alive;
}

}  // namespace test
