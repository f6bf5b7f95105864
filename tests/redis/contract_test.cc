#include <doctest/doctest.h>

#include "tests/redis/world.h"

namespace {

TEST_CASE("redis_hub: keeps the contract of every hub") {
  test::RedisServer server;
  redis::RedisHub::Options options;
  options.block_ms = 100;  // a dozen checks wait for a read that finds nothing
  test::check_hubs([&] { return std::make_unique<test::RedisWorld>(server, options); });
}

}  // namespace
