// Inboxes on a server of their own, beside the one that has everything else.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/redis/probe.h"

namespace {

using cluster::Status;
using test::Probe;
using test::RedisServer;
using test::RedisWorld;

redis::RedisHub::Options with_inbox_on(const RedisServer& server) {
  redis::RedisHub::Options options;
  options.inbox = "127.0.0.1:" + std::to_string(server.port());
  options.block_ms = 100;
  options.max_pause_ms = 20;
  return options;
}

// A control server, one with inboxes, and nodes with their inboxes on either.
struct Two {
  RedisServer control;
  RedisServer further;
  RedisWorld world{control, with_inbox_on(further)};
  Two() { further.command_after({"FLUSHALL"}, {"SCRIPT", "FLUSH"}); }
  redis::RedisHub& hub(const std::string& inbox) {
    redis::RedisHub::Options options = world.base;
    options.url.server.port = control.port();
    options.inbox = inbox;
    return world.make_hub(options);
  }
};

struct Node : Probe {
  Node(Two& two, const std::string& name, const std::string& inbox, uint64_t gateway = 1)
      : Probe(two.world, two.hub(inbox)) {
    REQUIRE(until([&] { return ups == 1; }));
    REQUIRE(join(name, gateway, 60'000) == Status::ok);
  }
  // Until it is known where the others have their inboxes, and the servers are there.
  void see() {
    REQUIRE(until([&] { return renew().status == Status::ok && hub.missing_servers() == 0; }));
  }
};

TEST_CASE("redis_hub: keeps the contract with inboxes on another server") {
  RedisServer control;
  RedisServer further;
  test::check_hubs([&] {
    further.command_after({"FLUSHALL"}, {"SCRIPT", "FLUSH"});
    return std::make_unique<RedisWorld>(control, with_inbox_on(further));
  });
}

TEST_CASE("redis_hub: an inbox is where its node says, and everybody finds it there") {
  Two two;
  Node a(two, "a", "");
  Node b(two, "b", two.world.base.inbox);
  a.see();
  b.see();
  CHECK(a.send(b.key, 1, "to b") == Status::ok);
  CHECK(b.send(a.key, 1, "to a") == Status::ok);
  CHECK(a.read(a.key).value.at(0).frames == "to a");
  CHECK(b.read(b.key).value.at(0).frames == "to b");
  const auto keys = two.further.keys();
  CHECK(std::ranges::find(keys, "mm:in:" + b.key) != keys.end());
  CHECK(std::ranges::find(keys, "mm:in:" + a.key) == keys.end());
  const auto on_control = two.control.keys();
  CHECK(std::ranges::find(on_control, "mm:in:" + b.key) == on_control.end());
}

TEST_CASE("redis_hub: while a server with inboxes is away all else goes on") {
  Two two;
  Node a(two, "a", "");
  Node b(two, "b", two.world.base.inbox);
  Node c(two, "c", "");
  a.see();
  two.further.kill();
  REQUIRE(a.until([&] { return a.hub.missing_servers() == 1 && b.hub.missing_servers() == 1; }));
  CHECK(a.send(b.key, 1, "waits") == Status::lost);
  CHECK(b.read(b.key).status == Status::lost);
  CHECK(a.send(c.key, 1) == Status::ok);
  CHECK(b.send(c.key, 1) == Status::ok);
  CHECK(b.claim("x").status == Status::ok);
  CHECK(b.renew().status == Status::ok);
  CHECK(a.downs + b.downs == 0);
}

TEST_CASE("redis_hub: a server with inboxes that comes back with its log goes on where it was") {
  RedisServer control;
  RedisServer further({"--appendonly", "yes", "--appendfsync", "always"});
  RedisWorld world(control, with_inbox_on(further));
  Probe b(world, "b");
  const uint64_t id = b.info.cluster_id;
  CHECK(b.send(b.key, 1, "before") == Status::ok);
  further.kill();
  further.start();
  // It may have lost something: everybody begins anew.
  REQUIRE(b.until([&] { return b.renew().status == Status::lost || b.ups > 1; }));
  REQUIRE(b.until([&] { return b.ups > 1; }));
  CHECK(b.info.cluster_id != id);
  REQUIRE(b.until([&] { return b.join("b", 1, 60'000) == Status::ok; }));
  CHECK(b.send(b.key, 2, "after") == Status::ok);
  const auto entries = b.read(b.key).value;
  REQUIRE(entries.size() == 2);
  CHECK(entries[1].frames == "after");
}

TEST_CASE("redis_hub: a server with inboxes that comes back empty has all nodes begin anew, once") {
  Two two;
  Node a(two, "a", "");
  Node b(two, "b", two.world.base.inbox);
  a.see();
  const uint64_t id = a.info.cluster_id;
  CHECK(a.send(b.key, 1, "lost") == Status::ok);
  two.further.kill();
  two.further.start();
  // Who has noticed says so to the others.
  REQUIRE(a.until([&] { return a.renew().status == Status::lost || a.ups > 1; }));
  REQUIRE(a.until([&] { return a.ups > 1; }));
  REQUIRE(b.until([&] { return b.renew().status == Status::lost || b.ups > 1; }));
  REQUIRE(b.until([&] { return b.ups > 1; }));
  CHECK(a.info.cluster_id != id);
  CHECK(b.info.cluster_id == a.info.cluster_id);
  REQUIRE(a.join("a", 1, 60'000) == Status::ok);
  REQUIRE(b.until([&] { return b.join("b", 1, 60'000) == Status::ok; }));
  REQUIRE(a.until([&] { return a.send(b.key, 2, "again") == Status::ok; }));
  CHECK(b.read(b.key).value.at(0).frames == "again");
  CHECK(a.renew().value.cluster_id == a.info.cluster_id);
}

TEST_CASE("redis_hub: a gateway that has been replaced puts nothing into inboxes elsewhere, nor trims its own") {
  Two two;
  Node a(two, "a", "");
  Node old(two, "b", two.world.base.inbox);
  a.see();
  CHECK(a.send(old.key, 1, "kept") == Status::ok);
  Node b(two, "b", "", 2);
  CHECK(b.key == old.key);
  CHECK(old.send(old.key, 1, "late") != Status::ok);
  REQUIRE(old.until([&] { return old.send(old.key, 1, "late") == Status::fenced; }));
  CHECK(old.tell([&](auto done) { old.hub.trim(UINT64_MAX, std::move(done)); }) == Status::fenced);
  const auto entries = b.read(b.key).value;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].frames == "kept");
}

TEST_CASE("redis_hub: an inbox stays where it is for the life of its node") {
  Two two;
  Node first(two, "b", two.world.base.inbox);
  CHECK(first.send(first.key, 1, "kept") == Status::ok);
  Node second(two, "b", "", 2);
  const auto entries = second.read(second.key).value;
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].frames == "kept");
  CHECK(second.renew().value.nodes.at(0).inbox == two.world.base.inbox);
}

TEST_CASE("redis_hub: nobody joins whose inbox is on a server that is not there") {
  Two two;
  two.further.kill();
  Probe b(two.world, two.hub(two.world.base.inbox));
  REQUIRE(b.until([&] { return b.ups == 1; }));
  CHECK(b.join("b", 1, 60'000) == Status::refused);
  CHECK(b.join("b", 1, 60'000) == Status::refused);
  two.further.start();
  REQUIRE(b.until([&] { return b.join("b", 1, 60'000) == Status::ok; }));
  CHECK(b.send(b.key, 1) == Status::ok);
}

TEST_CASE("redis_hub: a node that is buried leaves nothing on any server") {
  Two two;
  Node a(two, "a", "");
  a.see();
  const auto before = two.further.keys();
  CHECK(before.empty());
  {
    Node b(two, "b", two.world.base.inbox);
    a.see();
    CHECK(a.send(b.key, 1) == Status::ok);
    const uint64_t entry = b.read(b.key).value.at(0).id;
    CHECK(b.tell([&](auto done) { b.hub.bury(std::move(done)); }) == Status::refused);
    CHECK(b.tell([&](auto done) { b.hub.trim(entry, std::move(done)); }) == Status::ok);
    CHECK(b.tell([&](auto done) { b.hub.bury(std::move(done)); }) == Status::ok);
  }
  CHECK(a.send("b.1", 2) != Status::ok);
  // What is left: who was here, for a day. Who announces himself later sweeps it.
  for (const std::string& key : two.further.keys()) {
    INFO(key);
    CHECK((key == "mm:cluster" || key == "mm:nodes" || key == "mm:buried"));
  }
  CHECK(two.control.command({"EXISTS", "mm:inboxes"}).integer == 0);
}

TEST_CASE("redis_hub: who has not been on a server for long, and has nothing there, is forgotten there") {
  Two two;
  two.further.command({"HSET", "mm:nodes", "old.1", "1 5 1 - ", "waits.2", "1 5 1 - "});
  two.further.command({"HSET", "mm:num:old.1", "x.1", "1 1"});
  two.further.command({"XADD", "mm:in:waits.2", "7-0", "f", "x.1", "g", "1", "d", ""});
  Node b(two, "b", two.world.base.inbox);
  CHECK(two.further.command({"HEXISTS", "mm:nodes", "old.1"}).integer == 0);
  CHECK(two.further.command({"EXISTS", "mm:num:old.1"}).integer == 0);
  CHECK(two.further.command({"HEXISTS", "mm:nodes", "waits.2"}).integer == 1);
}

}  // namespace
