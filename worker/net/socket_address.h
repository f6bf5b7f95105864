// The address of a TCP peer in 20 bytes, kept from accept() so that it can still be named when the peer is gone.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>

namespace net {

class SocketAddress {
 public:
  SocketAddress() = default;
  explicit SocketAddress(const sockaddr_storage& address);
  // "127.0.0.1:40312", "[::1]:40312". An IPv4 address that came through an IPv6 socket is written as IPv4.
  std::string text() const;

 private:
  enum class Family : uint8_t { unknown, ipv4, ipv6 };
  std::array<uint8_t, 16> address_{};
  uint16_t port_ = 0;
  Family family_ = Family::unknown;
};

}  // namespace net
