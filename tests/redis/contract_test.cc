#include <doctest/doctest.h>

#include "tests/redis/world.h"

namespace {

TEST_CASE("redis_hub: keeps the contract of every hub") {
  test::RedisServer server;
  test::check_hubs([&] { return std::make_unique<test::RedisWorld>(server); });
}

}  // namespace
