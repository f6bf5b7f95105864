// Two hosts that are configured as the same node, and one whose disk is another.
#include <doctest/doctest.h>

#include "tests/redis/probe.h"

namespace {

using cluster::Status;
using test::Probe;
using test::RedisServer;
using test::RedisWorld;

constexpr uint64_t kShort = 300;

redis::RedisHub::Options host(RedisWorld& world, const std::string& disk, const std::string& boot = "boot") {
  redis::RedisHub::Options options = world.base;
  options.url.server.port = world.server().port();
  options.block_ms = 100;
  options.host = {disk, boot};
  return options;
}

struct Host : Probe {
  Host(RedisWorld& world, const std::string& disk, const std::string& boot = "boot")
      : Probe(world, world.make_hub(host(world, disk, boot))) {
    REQUIRE(until([&] { return ups == 1; }));
  }
  // When the lease of whoever has the name has run out.
  bool joins_at_last(const std::string& name, uint64_t gateway) {
    return until([&] { return join(name, gateway, 60'000) == Status::ok; });
  }
};

TEST_CASE("redis_hub: a node is one host's while its lease runs") {
  RedisServer server;
  RedisWorld world(server);
  Host one(world, "1");
  CHECK(one.join("same", 5, 60'000) == Status::ok);
  Host two(world, "2");
  CHECK(two.join("same", 9, 60'000) == Status::refused);
  Host copied(world, "1", "another boot");
  CHECK(copied.join("same", 9, 60'000) == Status::refused);
  CHECK(one.renew().status == Status::ok);
  Host replaced(world, "1");
  CHECK(replaced.join("same", 6, 60'000) == Status::ok);
  CHECK(replaced.key == one.key);
}

TEST_CASE("redis_hub: a host that has stopped may be another at once") {
  RedisServer server;
  RedisWorld world(server);
  Host one(world, "1");
  CHECK(one.join("same", 5, 60'000) == Status::ok);
  CHECK(one.tell([&](auto done) { one.hub.leave(done); }) == Status::ok);
  Host two(world, "2");
  CHECK(two.join("same", 1, 60'000) == Status::ok);
  CHECK(two.key != one.key);
  CHECK(one.join("same", 6, 60'000) == Status::refused);
}

TEST_CASE("redis_hub: who has the disk goes on with the node, who has another begins beside it") {
  RedisServer server;
  RedisWorld world(server);
  Host one(world, "1");
  CHECK(one.join("same", 5, kShort) == Status::ok);
  CHECK(one.copy("record", "value") == Status::ok);
  Host rebooted(world, "1", "next boot");
  CHECK(rebooted.joins_at_last("same", 6));
  CHECK(rebooted.key == one.key);
  CHECK(rebooted.renew(kShort).status == Status::ok);

  Host empty(world, "2");
  CHECK(empty.joins_at_last("same", 7));
  CHECK(empty.key != one.key);
  CHECK(empty.key.starts_with("same."));
  std::string name;
  CHECK(empty.until([&] {
    empty.renew(kShort);
    name = empty.ask<std::string>([&](auto done) { empty.hub.adopt(one.key, kShort, 60'000, done); }).value;
    return !name.empty();
  }));
  Probe guest(world, name);
  CHECK(guest.key == one.key);
  CHECK(server.command({"HLEN", "mm:hosts"}).integer == 1);
  CHECK(guest.tell([&](auto done) { guest.hub.bury(done); }) == Status::ok);
  CHECK(empty.renew().status == Status::ok);
}

}  // namespace
