// What a server may do: go away and come back with or without its data, be slow, be full, refuse.
#include <doctest/doctest.h>

#include "tests/redis/probe.h"

namespace {

using cluster::Status;
using test::Probe;
using test::RedisServer;
using test::RedisWorld;

redis::RedisHub::Options quick() {
  redis::RedisHub::Options options;
  options.block_ms = 100;
  options.max_pause_ms = 20;
  return options;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("redis_hub: a server that is not there at the start is told once, and waited for") {
  RedisServer server;
  RedisWorld world(server, quick());
  server.kill();
  Probe a(world);
  REQUIRE(a.until([&] { return a.downs == 1; }));
  CHECK(a.renew().status == Status::lost);
  a.until([&] { return a.hub.statistics().attempts > 5; });
  CHECK(a.downs == 1);
  CHECK_FALSE(a.hub.up());
  server.start();
  REQUIRE(a.back());
  CHECK(a.join("a", 1, 60'000) == Status::ok);
  CHECK(contains(a.info.server, "Redis 7."));
}

TEST_CASE("redis_hub: a server that is killed between calls loses those without an answer") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  const uint64_t id = a.info.cluster_id;
  std::vector<Status> statuses;
  uint64_t called = 0;
  const auto call_some = [&] {
    for (int i = 0; i < 20; ++i) {
      a.hub.claim("c" + std::to_string(called++), 0, [&](Status status, auto) { statuses.push_back(status); });
    }
    return a.downs > 0;
  };
  a.until([&] { return call_some(), statuses.size() > 500; });
  server.kill();
  REQUIRE(a.until(call_some));
  server.start();
  REQUIRE(a.back());
  REQUIRE(a.until([&] { return statuses.size() == called; }));
  const auto lost = std::find(statuses.begin(), statuses.end(), Status::lost);
  CHECK(lost != statuses.end());
  CHECK(a.hub.outstanding() == 0);
  CHECK(a.info.cluster_id != id);
  CHECK(a.renew().status == Status::fenced);
}

TEST_CASE("redis_hub: a server that comes back with its log goes on where it was") {
  RedisServer server({"--appendonly", "yes", "--appendfsync", "always"});
  RedisWorld world(server, quick());
  Probe a(world, "a");
  CHECK(a.info.warnings.empty());
  CHECK(a.send(a.key, 1, "one") == Status::ok);
  const uint64_t epoch = a.claim("c").value.epoch;
  CHECK(a.hold("c", epoch).status == Status::ok);
  const uint64_t version = a.retain("t", "v").value;
  CHECK(a.copy("record", "value") == Status::ok);
  const uint64_t id = a.info.cluster_id;
  server.kill();
  server.start();
  REQUIRE(a.back());
  CHECK(a.info.cluster_id == id);
  CHECK(a.renew().status == Status::ok);
  CHECK(a.send(a.key, 1, "one") == Status::ok);
  CHECK(a.read(a.key).value.size() == 1);
  CHECK(a.claim("c").value.previous == a.key);
  CHECK(a.retain("t", "w").value > version);
}

TEST_CASE("redis_hub: a server that comes back with an older state is noticed by who reads") {
  RedisServer server({"--dbfilename", "old.rdb"});
  RedisWorld world(server, quick());
  Probe a(world, "a");
  const uint64_t old = a.changes(0).value.next;
  server.command({"SAVE"});
  CHECK(a.send(a.key, 1, "lost") == Status::ok);
  const uint64_t after = a.read(a.key).value.at(0).id;
  CHECK(a.retain("t", "lost").status == Status::ok);
  const uint64_t end = a.changes(old).value.next;
  CHECK(end > old);
  server.kill();
  server.start();
  REQUIRE(a.back());
  CHECK(a.changes(end).value.gap);
  CHECK(a.changes(old).value.gap == false);
  CHECK(a.send(a.key, 2, "seen") == Status::ok);
  const auto entries = a.read(a.key, after).value;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].frames == "seen");
}

TEST_CASE("redis_hub: a server that comes back with an older state shows it by the cluster's id") {
  RedisServer server({"--dbfilename", "old.rdb"});
  RedisWorld world(server, quick());
  Probe a(world, "a");
  Probe b(world, "b");
  const uint64_t id = a.info.cluster_id;
  server.command({"SAVE"});
  SUBCASE("an epoch is lost") {
    CHECK(a.claim("c").status == Status::ok);
  }
  SUBCASE("a version is lost") {
    CHECK(a.retain("t", "lost").status == Status::ok);
  }
  server.kill();
  server.start();
  REQUIRE(a.until([&] { return a.ups == 2 && b.ups == 2; }));
  // Whoever connects first, who knows of it says so.
  REQUIRE(a.until([&] { return a.info.cluster_id != id; }));
  REQUIRE(a.until([&] { return b.info.cluster_id == a.info.cluster_id || b.renew().status == Status::lost; }));
  REQUIRE(a.until([&] { return b.info.cluster_id == a.info.cluster_id; }));
}

TEST_CASE("redis_hub: ids go on above what was read, whatever the clock of the server says") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  const uint64_t future = 4'000'000'000'000'000;
  CHECK(a.send(a.key, 1) == Status::ok);
  CHECK(a.read(a.key, future).value.empty());
  CHECK(a.send(a.key, 2, "seen") == Status::ok);
  const auto entries = a.read(a.key, future).value;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].frames == "seen");
}

TEST_CASE("redis_hub: a slow server is waited for, up to the timeout") {
  RedisServer server;
  auto options = quick();
  options.timeout_ms = 1500;
  RedisWorld world(server, options);
  Probe a(world, "a");
  server.command({"CLIENT", "PAUSE", "500", "ALL"});
  CHECK(a.renew().status == Status::ok);
  CHECK(a.downs == 0);
  server.command({"CLIENT", "PAUSE", "3000", "ALL"});
  CHECK(a.renew().status == Status::lost);
  REQUIRE(a.until([&] { return a.downs == 1; }));
  CHECK(contains(a.reason, "no answer"));
  REQUIRE(a.back());
  CHECK(a.renew().status == Status::ok);
}

TEST_CASE("redis_hub: a server that says nothing any more is found dead, even without calls") {
  RedisServer server;
  auto options = quick();
  options.timeout_ms = 1000;
  RedisWorld world(server, options);
  Probe a(world, "a");
  a.proxy().stall(true);
  REQUIRE(a.until([&] { return a.downs == 1; }));
  CHECK(contains(a.reason, "no answer"));
  a.proxy().stall(false);
  REQUIRE(a.back());
  CHECK(a.renew().status == Status::ok);
}

TEST_CASE("redis_hub: at maxmemory what needs memory is refused, and leases and freeing go on") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  Probe b(world, "b", 300);
  CHECK(a.send(b.key, 1) == Status::ok);
  CHECK(a.copy("record", "value") == Status::ok);
  CHECK(a.retain("t", "v").status == Status::ok);
  const uint64_t epoch = a.claim("c").value.epoch;
  server.command({"CONFIG", "SET", "maxmemory", "1"});
  CHECK(a.send(b.key, 2) == Status::refused);
  CHECK(a.claim("d").status == Status::refused);
  CHECK(a.retain("u", "v").status == Status::refused);
  CHECK(a.copy("more", "value") == Status::refused);
  CHECK(a.hub.statistics().calls.refused >= 4);

  CHECK(a.renew().status == Status::ok);
  CHECK(a.read(b.key).value.size() == 1);
  CHECK(a.retain("t", "").status == Status::ok);
  CHECK(a.copy("record", "") == Status::ok);
  CHECK(a.tell([&](auto done) { a.hub.trim(1, done); }) == Status::ok);
  CHECK(a.tell([&](auto done) { a.hub.withdraw("c", epoch, done); }) == Status::ok);
  CHECK(a.until(
      [&] { return !a.ask<std::string>([&](auto done) { a.hub.adopt(b.key, 300, 60'000, done); }).value.empty(); }));
  Probe c(world, "c");
  CHECK(c.tell([&](auto done) { c.hub.bury(done); }) == Status::ok);
  CHECK(a.downs == 0);

  server.command({"CONFIG", "SET", "maxmemory", "0"});
  CHECK(a.claim("d").status == Status::ok);
}

TEST_CASE("redis_hub: what is refused has not been done in part") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  server.command({"CONFIG", "SET", "maxmemory", "1"});
  const auto keys = server.keys();
  CHECK(a.send(a.key, 1, std::string(100'000, 'x')) == Status::refused);
  CHECK(a.retain("t", "v").status == Status::refused);
  CHECK(a.copy("k", "v") == Status::refused);
  CHECK(a.claim("c").status == Status::refused);
  CHECK(server.keys() == keys);
  server.command({"CONFIG", "SET", "maxmemory", "0"});
  CHECK(a.send(a.key, 1, "x") == Status::ok);
  CHECK(a.read(a.key).value.size() == 1);
}

TEST_CASE("redis_hub: passwords and users") {
  RedisServer server({"--requirepass", "s3cret p@ss"});
  server.command_after({"AUTH", "s3cret p@ss"}, {"ACL", "SETUSER", "bob", "on", ">b0bs", "~*", "&*", "+@all"});
  server.command_after({"AUTH", "s3cret p@ss"},
                       {"ACL", "SETUSER", "eve", "on", ">e", "~*", "&*", "+@all", "-config", "-role", "-info"});
  RedisServer plain;
  RedisWorld world(plain, quick());
  auto options = world.base;
  options.url.server = {"localhost", server.port()};

  SUBCASE("none where one is needed") {
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.downs == 1; }));
    CHECK(contains(a.reason, "NOAUTH"));
  }
  SUBCASE("a wrong one is not told to the log") {
    options.url.password = "wr0ng";
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.downs == 1; }));
    CHECK(contains(a.reason, "WRONGPASS"));
    CHECK_FALSE(contains(a.reason, "wr0ng"));
  }
  SUBCASE("the right one, and another database") {
    options.url.password = "s3cret p@ss";
    options.url.database = 3;
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.ups == 1; }));
    CHECK(a.join("a", 1, 60'000) == Status::ok);
    CHECK(server.command_after({"AUTH", "s3cret p@ss"}, {"DBSIZE"}).integer == 0);
  }
  SUBCASE("a user of its own") {
    options.url.user = "bob";
    options.url.password = "b0bs";
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.ups == 1; }));
  }
  SUBCASE("a user who may not see the configuration") {
    options.url.user = "eve";
    options.url.password = "e";
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.ups == 1; }));
    REQUIRE(a.info.warnings.size() == 1);
    CHECK(contains(a.info.warnings[0], "was not checked"));
  }
  SUBCASE("a password where none is needed") {
    options.url.server.port = plain.port();
    options.url.password = "unexpected";
    Probe a(world, world.make_hub(options));
    REQUIRE(a.until([&] { return a.downs == 1; }));
    CHECK(contains(a.reason, "AUTH"));
  }
}

TEST_CASE("redis_hub: warns of a configuration that loses what it should keep") {
  RedisServer server({"--save", "60 1", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"});
  RedisWorld world(server, quick());
  Probe a(world, "a");
  REQUIRE(a.info.warnings.size() == 2);
  CHECK(contains(a.info.warnings[0], "appendonly"));
  CHECK(contains(a.info.warnings[1], "allkeys-lru"));
}

TEST_CASE("redis_hub: a master that becomes a replica is left, and taken when it is a master again") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  server.command({"REPLICAOF", "127.0.0.1", "1"});
  REQUIRE(a.until([&] { return a.downs == 1; }));  // ROLE, once a second
  CHECK(contains(a.reason, "not a master"));
  server.command({"REPLICAOF", "NO", "ONE"});
  REQUIRE(a.back());
  CHECK(a.renew().status == Status::ok);
  server.command({"REPLICAOF", "127.0.0.1", "1"});
  CHECK(a.renew().status == Status::lost);  // READONLY, or ROLE
  REQUIRE(a.until([&] { return a.downs == 2; }));
}

TEST_CASE("redis_hub: scripts that were flushed are loaded again") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  server.command({"SCRIPT", "FLUSH"});
  CHECK(a.claim("c").status == Status::lost);
  REQUIRE(a.until([&] { return a.ups == 2; }));
  CHECK(contains(a.reason, "NOSCRIPT"));
  CHECK(a.claim("c").status == Status::ok);
}

TEST_CASE("redis_hub: a key that is somebody else's makes calls refused") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  server.command({"SET", "mm:retained", "x"});
  server.command({"SET", "mm:in:" + a.key, "x"});
  CHECK(a.retain("t", "v").status == Status::refused);
  CHECK(a.send(a.key, 1) == Status::refused);
  CHECK(a.read(a.key).status == Status::refused);
  CHECK(a.ask<cluster::Changes>([&](auto done) { a.hub.snapshot(0, done); }).status == Status::refused);
  server.command({"HSET", "mm:dir:" + std::to_string(redis::bucket_of("c")), "c", "garbage"});
  CHECK(a.claim("c").status == Status::refused);
  CHECK(a.renew().status == Status::ok);
  CHECK(a.downs == 0);
}

TEST_CASE("redis_hub: a server that cannot save refuses") {
  RedisServer server({"--save", "3600 1000000", "--dir", "/proc"});
  RedisWorld world(server, quick());
  Probe a(world, "a");
  server.command({"BGSAVE"});
  REQUIRE(a.until([&] { return a.claim("c").status == Status::refused; }));
  CHECK(a.downs == 0);
}

TEST_CASE("redis_hub: a server that is busy with a script refuses") {
  RedisServer server({"--busy-reply-threshold", "50"});
  auto options = quick();
  options.timeout_ms = 10'000;
  RedisWorld world(server, options);
  Probe a(world, "a");
  const auto busy = server.begin({"EVAL", "while true do end", "0"});
  REQUIRE(a.until([&] { return a.claim("c").status == Status::refused; }));
  server.command_after({"SCRIPT", "KILL"}, {"PING"});
  REQUIRE(a.until([&] { return a.ups > a.downs && a.claim("c").status == Status::ok; }));
}

TEST_CASE("redis_hub: a listener that Redis has closed is replaced without anybody noticing") {
  RedisServer server;
  RedisWorld world(server, quick());
  Probe a(world, "a");
  const int before = a.changes_of_nodes;
  server.command({"CLIENT", "KILL", "TYPE", "pubsub"});
  REQUIRE(a.until([&] { return a.changes_of_nodes > before; }));
  CHECK(a.until([&] {
    a.hub.datagram(a.key, "x");
    return !a.datagrams.empty();
  }));
  CHECK(a.downs == 0);
  CHECK(a.hub.statistics().listener_breaks == 1);
}

TEST_CASE("redis_hub: a reader that Redis has closed loses its read only") {
  RedisServer server;
  auto options = quick();
  options.block_ms = 5000;
  RedisWorld world(server, options);
  Probe a(world, "a");
  Status status = Status::ok;
  a.hub.read(a.key, 0, 1000, [&](Status s, auto) { status = s; });
  CHECK(a.renew().status == Status::ok);
  for (const auto& line : {server.command({"CLIENT", "LIST"}).text}) {
    for (size_t at = line.find("name=hub:reader"); at != std::string::npos; at = line.find("name=hub:reader", at + 1)) {
      const size_t begin = line.rfind("id=", at) + 3;
      server.command({"CLIENT", "KILL", "ID", line.substr(begin, line.find(' ', begin) - begin)});
    }
  }
  REQUIRE(a.until([&] { return status == Status::lost; }));
  CHECK(a.send(a.key, 1) == Status::ok);
  CHECK(a.read(a.key).value.size() == 1);
  CHECK(a.downs == 0);
}

TEST_CASE("redis_hub: who is too far behind the changes is told of the gap") {
  RedisServer server;
  auto options = quick();
  options.max_changes = 100;
  options.changes_ms = 0;
  RedisWorld world(server, options);
  Probe a(world, "a");
  const uint64_t start = a.changes(0).value.next;
  CHECK(a.retain("t", "v").status == Status::ok);
  CHECK_FALSE(a.changes(start).value.gap);
  for (int i = 0; i < 1000; ++i) a.hub.retain("t", "v", 0, [](Status, uint64_t) {});
  CHECK(a.retain("t", "last").status == Status::ok);
  const auto seen = a.changes(start).value;
  CHECK(seen.gap);
  CHECK(server.command({"XLEN", "mm:changes"}).integer < 300);

  // All of them are gone: nothing comes that could show it, but a hub that has just connected looks.
  server.command({"XTRIM", "mm:changes", "MAXLEN", "0"});
  Probe b(world, "b");
  CHECK(b.changes(start).value.gap);
  CHECK_FALSE(b.changes(b.changes(0).value.next).value.gap);
}

TEST_CASE("redis_hub: a cluster that has done all its work leaves nothing behind") {
  RedisServer server;
  auto options = quick();
  options.tombstones_ms = 0;
  options.changes_ms = 0;
  RedisWorld world(server, options);
  Probe survivor(world, "survivor");
  const auto churn = [&](int round) {
    Probe a(world, "a" + std::to_string(round), 200);
    for (uint64_t i = 1; i <= 20; ++i) {
      const std::string client = "client" + std::to_string(i);
      CHECK(a.send(survivor.key, i) == Status::ok);
      CHECK(survivor.send(a.key, i) == Status::ok);
      CHECK(a.copy(client, "state") == Status::ok);
      const uint64_t epoch = a.claim(client).value.epoch;
      CHECK(a.hold(client, epoch).status == Status::ok);
      if (i % 2 == 0) CHECK(a.tell([&](auto done) { a.hub.release(client, epoch, done); }) == Status::ok);
      CHECK(a.retain(client, "value").status == Status::ok);
      CHECK(a.retain(client, "").status == Status::ok);
    }
    CHECK(a.tell([&](auto done) { a.hub.leave(done); }) == Status::ok);
    std::string name;
    CHECK(a.until([&] {
      name = survivor.ask<std::string>([&](auto done) { survivor.hub.adopt(a.key, 200, 60'000, done); }).value;
      return !name.empty();
    }));
    Probe guest(world, name);
    CHECK(guest.key == a.key);
    for (uint32_t part = 0; part < guest.hub.directory_parts(); ++part) {
      guest.hub.mine(part, [&](Status status, const auto& mine) {
        CHECK(status == Status::ok);
        for (const auto& entry : mine) guest.hub.release(entry.client, entry.epoch, [](Status) {});
      });
    }
    CHECK(guest.tell([&](auto done) { guest.hub.trim(UINT64_MAX, done); }) == Status::ok);
    CHECK(guest.tell([&](auto done) { guest.hub.bury(done); }) == Status::ok);
    const auto entries = survivor.read(survivor.key).value;
    CHECK(survivor.tell([&](auto done) { survivor.hub.trim(entries.back().id, done); }) == Status::ok);
    CHECK(survivor.renew().status == Status::ok);
    return server.keys();
  };
  const auto first = churn(0);
  CHECK(first == std::vector<std::string>{"mm:buried", "mm:changes", "mm:cluster", "mm:in:" + survivor.key, "mm:names",
                                          "mm:nodes", "mm:num:" + survivor.key});
  for (int round = 1; round < 5; ++round) CHECK(churn(round) == first);
  CHECK(server.command({"XLEN", "mm:in:" + survivor.key}).integer == 0);
  CHECK(server.command({"XLEN", "mm:changes"}).integer < 200);
  CHECK(server.command({"HLEN", "mm:num:" + survivor.key}).integer == 1);
  CHECK(server.command({"HLEN", "mm:nodes"}).integer == 1);
}

TEST_CASE("redis_hub: two clusters on one server do not hear each other") {
  RedisServer server;
  RedisWorld world(server, quick());
  auto other = world.base;
  other.url.server.port = server.port();
  other.url.database = 2;
  Probe a(world, "a");
  Probe b(world, world.make_hub(other));
  REQUIRE(b.until([&] { return b.ups == 1; }));
  CHECK(b.join("b", 1, 60'000) == Status::ok);
  CHECK(b.renew().value.nodes.size() == 1);
  CHECK(a.tell([&](auto done) { a.hub.leave(done); }) == Status::ok);
  CHECK(a.until([&] { return a.changes_of_nodes > 0; }));
  const int heard = b.changes_of_nodes;
  CHECK(b.renew().status == Status::ok);
  CHECK(b.changes_of_nodes == heard);
}

}  // namespace
