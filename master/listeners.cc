#include "master/listeners.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "master/error.h"
#include "shared/base/check.h"

namespace master {
namespace {

constexpr int kBacklog = 4096;  // the kernel caps it at net.core.somaxconn

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address address_of(const config::Listen& listen) {
  Address address;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET, listen.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(listen.port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.length = sizeof v4;
  } else {
    CHECK(inet_pton(AF_INET6, listen.host.c_str(), &v6.sin6_addr) == 1);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(listen.port);
    std::memcpy(&address.storage, &v6, sizeof v6);
    address.length = sizeof v6;
  }
  return address;
}

void enable(int fd, int level, int option, const config::Listen& listen) {
  const int on = 1;
  if (setsockopt(fd, level, option, &on, sizeof on) != 0) throw system_error("cannot set an option of " + listen.url);
}

// The first socket of an address is bound without SO_REUSEPORT, which fails if anybody else has the port, even with
// SO_REUSEPORT; it becomes a member of the group afterwards. (SO_REUSEADDR only steps over connections in TIME_WAIT.)
base::UniqueFd open_socket(const config::Listen& listen, bool first, bool reuse_port) {
  const Address address = address_of(listen);
  base::UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw system_error("cannot make a socket for " + listen.url);
  enable(fd.get(), SOL_SOCKET, SO_REUSEADDR, listen);
  if (address.family() == AF_INET6) enable(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, listen);
  if (reuse_port && !first) enable(fd.get(), SOL_SOCKET, SO_REUSEPORT, listen);
  if (bind(fd.get(), address.get(), address.length) != 0) throw system_error("cannot listen on " + listen.url);
  if (reuse_port && first) enable(fd.get(), SOL_SOCKET, SO_REUSEPORT, listen);
  return fd;
}

std::vector<base::UniqueFd> open_row(const config::Listen& listen, uint32_t sockets, bool reuse_port) {
  std::vector<base::UniqueFd> row;
  for (uint32_t i = 0; i < sockets; ++i) row.push_back(open_socket(listen, i == 0, reuse_port));
  for (const base::UniqueFd& fd : row) {
    if (::listen(fd.get(), kBacklog) != 0) throw system_error("cannot listen on " + listen.url);
  }
  return row;
}

}  // namespace

std::vector<base::UniqueFd> open_listeners(const std::vector<config::Listen>& listens) {
  std::vector<base::UniqueFd> sockets;
  for (const config::Listen& listen : listens) sockets.push_back(std::move(open_row(listen, 1, false).front()));
  return sockets;
}

Listeners::Listeners(const config::Config& config) {
  uint32_t slot = 0;
  for (const config::WorkerGroup& from : config.workers) {
    Group group{slot, from.count, {}};
    for (const config::Listen& listen : from.listen) {
      group.rows.push_back({listen, open_row(listen, from.reuse_port ? from.count : 1, from.reuse_port)});
    }
    groups_.push_back(std::move(group));
    slot += from.count;
  }
}

std::vector<std::pair<int, config::Listen>> Listeners::of_slot(uint32_t slot) const {
  std::vector<std::pair<int, config::Listen>> sockets;
  for (const Group& group : groups_) {
    if (slot < group.first_slot || slot >= group.first_slot + group.count) continue;
    for (const Row& row : group.rows) {
      const size_t index = row.sockets.size() == 1 ? 0 : slot - group.first_slot;
      sockets.emplace_back(row.sockets[index].get(), row.listen);
    }
  }
  return sockets;
}

std::vector<int> Listeners::descriptors_of_slot(uint32_t slot) const {
  std::vector<int> descriptors;
  for (const auto& [fd, listen] : of_slot(slot)) descriptors.push_back(fd);
  return descriptors;
}

}  // namespace master
