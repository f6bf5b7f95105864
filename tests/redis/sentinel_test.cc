// Failover with real sentinels.
#include <doctest/doctest.h>

#include <fstream>

#include "tests/redis/probe.h"

namespace {

using cluster::Status;
using test::Probe;
using test::RedisServer;
using test::RedisWorld;

// A master, a replica that has everything, and three sentinels.
struct Failover {
  RedisServer master;
  RedisServer replica{{"--replicaof", "127.0.0.1 " + std::to_string(master.port())}};
  std::vector<std::unique_ptr<RedisServer>> sentinels;

  Failover() {
    const std::string monitor = "127.0.0.1 " + std::to_string(master.port()) + " 2";
    for (int i = 0; i < 3; ++i) {
      sentinels.push_back(std::make_unique<RedisServer>(
          std::vector<std::string>{"--sentinel", "monitor", "mm", "127.0.0.1", std::to_string(master.port()), "2",
                                   "--sentinel", "down-after-milliseconds", "mm", "500", "--sentinel",
                                   "failover-timeout", "mm", "3000"},
          true));
    }
  }
  bool ready(Probe& probe) {
    return probe.until([&] {
      const std::string known = sentinels[0]->command({"INFO", "sentinel"}).text;
      return known.find("slaves=1,sentinels=3") != std::string::npos;
    });
  }
  redis::RedisHub::Options options(const RedisWorld& world) const {
    redis::RedisHub::Options options = world.base;
    options.url.server = {};
    options.sentinels.master = "mm";
    options.sentinels.places.push_back({"127.0.0.1", test::free_port()});  // one that is not there
    for (const auto& sentinel : sentinels) options.sentinels.places.push_back({"127.0.0.1", sentinel->port()});
    return options;
  }
};

redis::RedisHub::Options quick() {
  redis::RedisHub::Options options;
  options.block_ms = 100;
  options.max_pause_ms = 100;
  return options;
}

TEST_CASE("redis_hub: follows the sentinels to the new master") {
  Failover failover;
  RedisServer unused;
  RedisWorld world(unused, quick());
  Probe a(world, world.make_hub(failover.options(world)));
  REQUIRE(a.until([&] { return a.ups == 1; }));
  CHECK(a.join("a", 1, 600'000) == Status::ok);
  CHECK(a.send(a.key, 1) == Status::ok);
  REQUIRE(failover.ready(a));
  failover.master.command({"WAIT", "1", "5000"});
  const uint64_t id = a.info.cluster_id;

  failover.master.kill();
  REQUIRE(a.until([&] { return a.ups == 2; }, 60'000));
  CHECK(a.info.cluster_id == id);
  CHECK(a.info.server.find(std::to_string(failover.replica.port())) != std::string::npos);
  CHECK(a.renew().status == Status::ok);
  CHECK(a.send(a.key, 1) == Status::ok);
  CHECK(a.read(a.key).value.size() == 1);

  // The old master comes back, thinks that it is one, and is made a replica.
  failover.master.start();
  CHECK(a.renew().status == Status::ok);
  CHECK(a.info.server.find(std::to_string(failover.replica.port())) != std::string::npos);
}

TEST_CASE("redis_hub: leaves a master that the sentinels have replaced while it was frozen") {
  Failover failover;
  RedisServer unused;
  auto base = quick();
  base.timeout_ms = 1000;
  RedisWorld world(unused, base);
  Probe a(world, world.make_hub(failover.options(world)));
  REQUIRE(a.until([&] { return a.ups == 1; }));
  CHECK(a.join("a", 1, 600'000) == Status::ok);
  REQUIRE(failover.ready(a));
  failover.master.command({"WAIT", "1", "5000"});
  failover.master.freeze();
  REQUIRE(a.until([&] { return a.ups >= 2 && a.hub.up(); }, 60'000));
  CHECK(a.info.server.find(std::to_string(failover.replica.port())) != std::string::npos);
  failover.master.thaw();
  CHECK(a.renew().status == Status::ok);
}

TEST_CASE("redis_hub: leaves a master that works when the sentinels have another") {
  RedisServer one;
  RedisServer two;
  RedisServer sentinel({"--sentinel", "monitor", "mm", "127.0.0.1", std::to_string(one.port()), "1"}, true);
  RedisWorld world(one, quick());
  auto options = world.base;
  options.sentinels.master = "mm";
  options.sentinels.places = {{"127.0.0.1", sentinel.port()}};
  Probe a(world, world.make_hub(options));
  REQUIRE(a.until([&] { return a.ups == 1; }));
  a.until([] { return false; }, 4000);
  CHECK(a.downs == 0);
  sentinel.command({"SENTINEL", "REMOVE", "mm"});
  sentinel.command({"SENTINEL", "MONITOR", "mm", "127.0.0.1", std::to_string(two.port()), "1"});
  REQUIRE(a.back());
  CHECK(a.reason.find("another master") != std::string::npos);
  CHECK(a.info.server.find(std::to_string(two.port())) != std::string::npos);
}

TEST_CASE("redis_hub: sentinels with a password of their own") {
  RedisServer server;
  RedisServer sentinel(
      {"--requirepass", "s3cret", "--sentinel", "monitor", "mm", "127.0.0.1", std::to_string(server.port()), "1"},
      true);
  sentinel.command_after({"AUTH", "s3cret"}, {"ACL", "SETUSER", "asker", "on", ">other", "+@all"});
  RedisWorld world(server, quick());
  struct Case {
    const char* user;
    const char* password;
    const char* refused;  // null: it is not
  };
  for (const Case& c : {Case{"", "s3cret", nullptr}, Case{"asker", "other", nullptr}, Case{"", "", "NOAUTH"},
                        Case{"", "other", "WRONGPASS"}, Case{"asker", "s3cret", "WRONGPASS"}}) {
    CAPTURE(c.user);
    CAPTURE(c.password);
    auto options = world.base;
    options.sentinels = {{{"127.0.0.1", sentinel.port()}}, "mm", c.user, c.password};
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.ups + a.downs == 1; }));
    CHECK(a.ups == (c.refused == nullptr ? 1 : 0));
    if (c.refused != nullptr) CHECK(a.reason.find(c.refused) != std::string::npos);
  }
}

TEST_CASE("redis_hub: sentinels that do not know the master are told of") {
  RedisServer unused;
  RedisServer sentinel({}, true);
  RedisWorld world(unused, quick());
  auto options = world.base;
  options.sentinels.master = "mm";
  options.sentinels.places = {{"127.0.0.1", sentinel.port()}, {"127.0.0.1", unused.port()}};
  Probe a(world, world.make_hub(options));
  REQUIRE(a.until([&] { return a.downs == 1; }));
  CHECK(a.reason.find("does not know \"mm\"") != std::string::npos);
  CHECK(a.reason.find("ERR unknown command") != std::string::npos);
}

}  // namespace
