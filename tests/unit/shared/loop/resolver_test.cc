#include "shared/loop/resolver.h"

#include <doctest/doctest.h>

namespace {

using loop::Address;
using loop::Loop;
using loop::Resolver;

struct Found {
  std::vector<Address> addresses;
  std::string error;
};

Found resolve(const std::string& host) {
  Loop loop;
  Found found;
  bool done = false;
  Resolver resolver(loop, host, 6379, [&](const std::vector<Address>& addresses, const std::string& error) {
    found = {addresses, error};
    done = true;
  });
  CHECK_FALSE(done);
  while (!done) loop.run_once();
  return found;
}

TEST_CASE("resolver: numeric addresses and localhost") {
  for (const auto& [host, family] : {std::pair("127.0.0.1", AF_INET), std::pair("::1", AF_INET6)}) {
    const Found found = resolve(host);
    REQUIRE(found.addresses.size() == 1);
    CHECK(found.addresses[0].storage.ss_family == family);
    CHECK(found.error.empty());
  }
  CHECK_FALSE(resolve("localhost").addresses.empty());
}

TEST_CASE("resolver: what cannot be a host is an error") {
  const Found found = resolve("no host");
  CHECK(found.addresses.empty());
  CHECK_FALSE(found.error.empty());
}

TEST_CASE("resolver: may be destroyed before the answer, and in it") {
  Loop loop;
  bool called = false;
  {
    Resolver resolver(loop, "127.0.0.1", 1, [&](const auto&, const auto&) { called = true; });
  }
  std::unique_ptr<Resolver> other;
  other = std::make_unique<Resolver>(loop, "127.0.0.1", 1, [&](const auto&, const auto&) { other.reset(); });
  while (other != nullptr) loop.run_once();
  CHECK_FALSE(called);
}

TEST_CASE("resolver: the loop may end before the answer") {
  Loop loop;
  Resolver resolver(loop, "localhost", 1, [](const auto&, const auto&) {});
}

}  // namespace
