#include "worker/net/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace net {

SocketAddress::SocketAddress(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    family_ = Family::ipv4;
    port_ = ntohs(in.sin_port);
    std::memcpy(address_.data(), &in.sin_addr, sizeof in.sin_addr);
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &address, sizeof in);
    port_ = ntohs(in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      family_ = Family::ipv4;
      std::memcpy(address_.data(), in.sin6_addr.s6_addr + 12, sizeof(in_addr));
    } else {
      family_ = Family::ipv6;
      std::memcpy(address_.data(), &in.sin6_addr, sizeof in.sin6_addr);
    }
  }
}

std::string SocketAddress::text() const {
  char text[INET6_ADDRSTRLEN] = {};
  switch (family_) {
    case Family::unknown:
      return "unknown";
    case Family::ipv4:
      inet_ntop(AF_INET, address_.data(), text, sizeof text);
      return std::string(text) + ':' + std::to_string(port_);
    case Family::ipv6:
      inet_ntop(AF_INET6, address_.data(), text, sizeof text);
      return '[' + std::string(text) + "]:" + std::to_string(port_);
  }
  return {};
}

}  // namespace net
