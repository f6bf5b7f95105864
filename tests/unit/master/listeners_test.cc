#include "master/listeners.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <set>

#include "master/error.h"
#include "shared/config/load.h"

using namespace master;

namespace {

// A port that is free now: bound, and given back.
uint16_t free_port() {
  const base::UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

config::Config with(const std::string& workers) {
  const config::Loaded loaded = config::load_text("{\"workers\":" + workers + "}", {"/", 1});
  REQUIRE(loaded.ok());
  return loaded.config;
}

std::string url(uint16_t port, const std::string& host = "127.0.0.1") {
  return "\"mqtt://" + host + ":" + std::to_string(port) + "\"";
}

bool listening(int fd) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value == 1;
}

}  // namespace

TEST_CASE("listeners: each slot has its own socket for each address of its group, in order") {
  const uint16_t a = free_port();
  const uint16_t b = free_port();
  const uint16_t c = free_port();
  const config::Config config = with("{\"x\":{\"listen\":[" + url(a) + "," + url(b) +
                                     "],\"count\":2},\"y\":{\"listen\":" + url(c) + ",\"count\":1}}");
  const Listeners listeners(config);
  std::set<int> descriptors;
  for (uint32_t slot = 0; slot < 3; ++slot) {
    const auto sockets = listeners.of_slot(slot);
    REQUIRE(sockets.size() == (slot == 2 ? 1 : 2));
    CHECK(sockets[0].second.port == (slot == 2 ? c : a));
    if (slot != 2) CHECK(sockets[1].second.port == b);
    for (const auto& [fd, listen] : sockets) {
      CHECK(listening(fd));
      CHECK(descriptors.insert(fd).second);
    }
  }
}

TEST_CASE("listeners: without reuse_port the group shares one socket") {
  const Listeners listeners(with("{\"x\":{\"listen\":" + url(free_port()) + ",\"count\":3,\"reuse_port\":false}}"));
  CHECK(listeners.descriptors_of_slot(0) == listeners.descriptors_of_slot(2));
}

TEST_CASE("listeners: an address that another instance has is an error, whether or not it shares its port") {
  for (const char* reuse : {"true", "false"}) {
    const std::string text = "{\"x\":{\"listen\":" + url(free_port()) + ",\"count\":2,\"reuse_port\":" + reuse + "}}";
    const Listeners first(with(text));
    CHECK_THROWS_WITH_AS(Listeners(with(text)), doctest::Contains("Address already in use"), Error);
  }
}

TEST_CASE("listeners: the error names the address, and nothing stays open") {
  const uint16_t taken = free_port();
  const uint16_t free = free_port();
  const Listeners first(with("{\"x\":{\"listen\":" + url(taken) + "}}"));
  const config::Config both = with("{\"x\":{\"listen\":[" + url(free) + "," + url(taken) + "]}}");
  const std::string expected =
      "cannot listen on mqtt://127.0.0.1:" + std::to_string(taken) + ": Address already in use";
  CHECK_THROWS_WITH_AS(Listeners{both}, expected.c_str(), Error);
  CHECK_NOTHROW(Listeners(with("{\"x\":{\"listen\":" + url(free) + "}}")));
}

TEST_CASE("listeners: IPv6 is IPv6 only, beside IPv4 on the same port") {
  const uint16_t port = free_port();
  CHECK_NOTHROW(
      Listeners(with("{\"x\":{\"listen\":[" + url(port, "0.0.0.0") + "," + url(port, "[::]") + "],\"count\":2}}")));
}
