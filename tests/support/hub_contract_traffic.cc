// Inboxes, datagrams, and the connection.
#include "tests/support/hub_gateway.h"

namespace test {
namespace {

using namespace contract;

// --- traffic ---

void entries_arrive(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  CHECK(a.send(b.key, 1, kBytes) == Status::ok);
  CHECK(a.send(b.key, 2, "second") == Status::ok);
  const auto entries = b.read_all(b.key);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].from == a.key);
  CHECK(entries[0].gateway == 7);
  CHECK(entries[0].frames == kBytes);
  CHECK(entries[1].frames == "second");
  CHECK((entries[0].id > 0 && entries[0].id < entries[1].id));
  CHECK(b.read_all(b.key, entries[0].id).size() == 1);
}

void sent_twice(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  for (const uint64_t number : {1u, 1u, 2u, 1u, 2u, 3u}) CHECK(a.send(b.key, number, text("n", number)) == Status::ok);
  const auto entries = b.read_all(b.key);
  REQUIRE(entries.size() == 3);
  CHECK(entries[2].frames == "n3");
}

void numbers_begin_with_the_gateway(HubWorld& world) {
  Gateway b(world, "b", 1);
  for (const uint64_t incarnation : {7u, 8u}) {
    Gateway a(world, "a", incarnation);
    for (const uint64_t number : {1u, 2u, 2u}) CHECK(a.send(b.key, number, "x") == Status::ok);
  }
  const auto entries = b.read_all(b.key);
  REQUIRE(entries.size() == 4);
  CHECK(entries[1].gateway == 7);
  CHECK(entries[2].gateway == 8);
}

void calls_in_a_row(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  std::vector<uint64_t> order;
  for (uint64_t number = 1; number <= 200; ++number) {
    a.hub().send(b.key, number, text("n", number), [&order, number](Status) { order.push_back(number); });
  }
  CHECK(a.hub().outstanding() > 0);
  CHECK(order.empty());
  REQUIRE(a.until([&] { return order.size() == 200; }));
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(a.hub().outstanding() == 0);
  const auto entries = b.read_all(b.key);
  REQUIRE(entries.size() == 200);
  CHECK(entries.back().frames == "n200");
}

void reading_waits(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  const auto nothing = b.read(b.key, 0);
  CHECK(nothing.status == Status::ok);
  CHECK(nothing.value.empty());

  std::vector<Entry> got;
  b.hub().read(b.key, 0, 1 << 20, [&](Status, std::vector<Entry> entries) { got = std::move(entries); });
  CHECK(b.renew().status == Status::ok);  // is not delayed
  CHECK(a.send(b.key, 1, "x") == Status::ok);
  CHECK(b.until([&] { return got.size() == 1; }));
}

void reading_several_inboxes(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  std::map<std::string, size_t> got;
  CHECK(a.renew().value.nodes.size() == 3);  // says where the inboxes are
  for (const std::string& inbox : {a.key, b.key, c.key}) {
    a.hub().read(inbox, 0, 1 << 20, [&got, inbox](Status, std::vector<Entry> entries) { got[inbox] = entries.size(); });
  }
  a.hub().changes(1, [](Status, Changes) {});
  CHECK(b.send(c.key, 1, "x") == Status::ok);
  CHECK(b.send(a.key, 1, "x") == Status::ok);
  CHECK(a.until([&] { return got.size() == 3; }));
  CHECK((got[a.key] == 1 && got[b.key] == 0 && got[c.key] == 1));
}

void reading_in_pieces(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  for (uint64_t number = 1; number <= 100; ++number) {
    a.hub().send(b.key, number, std::string(1000, 'x'), [](Status) {});
  }
  CHECK(a.send(b.key, 101, std::string(300'000, 'y')) == Status::ok);
  uint64_t after = 0;
  size_t entries = 0;
  size_t pieces = 0;
  while (entries < 101) {
    const auto piece = b.read(b.key, after, 10'000).value;
    REQUIRE_FALSE(piece.empty());
    entries += piece.size();
    ++pieces;
    after = piece.back().id;
  }
  CHECK(pieces > 3);
}

void trimming(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  for (uint64_t number = 1; number <= 3; ++number) a.send(b.key, number, text("n", number));
  const auto all = b.read_all(b.key);
  REQUIRE(all.size() == 3);
  CHECK(b.trim(all[1].id) == Status::ok);
  REQUIRE(b.read_all(b.key).size() == 1);
  CHECK(b.read_all(b.key)[0].frames == "n3");
  CHECK(b.trim(all[2].id) == Status::ok);
  CHECK(b.trim(all[2].id) == Status::ok);
  CHECK(a.send(b.key, 3, "n3") == Status::ok);
  CHECK(a.send(b.key, 4, "n4") == Status::ok);
  const auto rest = b.read_all(b.key);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].frames == "n4");
  CHECK(rest[0].id > all[2].id);
}

void nobody_there(HubWorld& world) {
  Gateway a(world, "a", 7);
  CHECK(a.send("b.1", 1, "x") == Status::refused);
  CHECK(a.read("b.1", 0).value.empty());
}

void datagrams(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  // One may be lost while b begins to listen.
  CHECK(a.until([&] {
    if (b.datagrams.empty()) a.hub().datagram(b.key, kBytes);
    return !b.datagrams.empty();
  }));
  REQUIRE_FALSE(b.datagrams.empty());
  CHECK(b.datagrams[0].first == a.key);
  CHECK(b.datagrams[0].second == kBytes);
  CHECK(a.datagrams.empty());
  a.hub().datagram("nobody.1", "x");
}

// --- the connection ---

void cut_and_back(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  std::vector<Status> statuses(100, Status::refused);
  size_t answered = 0;
  for (uint64_t number = 1; number <= 100; ++number) {
    a.hub().send(b.key, number, text("n", number), [&, number](Status status) {
      CHECK(answered++ == number - 1);
      statuses[number - 1] = status;
    });
  }
  a.hub().flush();
  world.cut(a.hub());
  REQUIRE(a.until([&] { return answered == 100 && a.ups == 2; }));
  CHECK(a.downs == 1);
  CHECK(a.hub().outstanding() == 0);
  CHECK(std::count(statuses.begin(), statuses.end(), Status::ok) < 100);
  for (uint64_t number = 1; number <= 100; ++number) {
    if (statuses[number - 1] == Status::ok) continue;
    CHECK(statuses[number - 1] == Status::lost);
    CHECK(a.send(b.key, number, text("n", number)) == Status::ok);
  }
  const auto entries = b.read_all(b.key);
  REQUIRE(entries.size() == 100);
  for (uint64_t number = 1; number <= 100; ++number) CHECK(entries[number - 1].frames == text("n", number));
}

void cut_while_reading(HubWorld& world) {
  Gateway a(world, "a", 7);
  Status read = Status::ok;
  Status changes = Status::ok;
  a.hub().read(a.key, 0, 1000, [&](Status status, std::vector<Entry>) { read = status; });
  a.hub().changes(1, [&](Status status, Changes) { changes = status; });
  a.hub().flush();
  world.cut(a.hub());
  REQUIRE(a.until([&] { return a.ups == 2; }));
  CHECK((read == Status::lost || world.inboxes_apart()));
  CHECK(changes == Status::lost);
  CHECK(a.renew().status == Status::ok);
  CHECK(a.read(a.key, 0).status == Status::ok);
}

void listens_again(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  world.cut(b.hub());
  REQUIRE(b.until([&] { return b.ups == 2; }));
  CHECK(a.until([&] {
    if (b.datagrams.empty()) a.hub().datagram(b.key, "x");
    return !b.datagrams.empty();
  }));
  const int before = b.changes_of_nodes;
  CHECK(a.leave() == Status::ok);
  CHECK(b.until([&] { return b.changes_of_nodes > before; }));
}

void calls_while_down(HubWorld& world) {
  Gateway a(world, "a", 7);
  world.cut(a.hub());
  REQUIRE(a.until([&] { return !a.hub().up() || a.ups == 2; }));
  if (!a.hub().up()) {
    std::vector<Status> statuses;
    a.hub().renew(kLong, [&](Status status, Membership) { statuses.push_back(status); });
    if (world.inboxes_apart()) {
      a.hub().leave([&](Status status) { statuses.push_back(status); });
    } else {
      a.hub().read(a.key, 0, 1000, [&](Status status, std::vector<Entry>) { statuses.push_back(status); });
    }
    CHECK(statuses.empty());
    CHECK(a.until([&] { return statuses.size() == 2; }));
    CHECK(statuses == std::vector<Status>(2, Status::lost));
  }
  REQUIRE(a.until([&] { return a.ups == 2; }));
  CHECK(a.renew().status == Status::ok);
}

void everything_lost(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 1);
  const uint64_t id = a.last_info.cluster_id;
  const uint64_t epoch = a.own("x");
  const uint64_t version = a.retain("t", "v").value;
  world.restart_empty();
  REQUIRE(a.until([&] { return a.ups == 2 && b.ups == 2; }));
  CHECK(a.last_info.cluster_id != id);
  CHECK(a.last_info.cluster_id == b.last_info.cluster_id);
  CHECK(a.renew().status == Status::fenced);
  const auto joined = a.join("a", 7, kLong).value;
  CHECK(joined.fresh);
  CHECK(joined.cluster_id == a.last_info.cluster_id);
  CHECK(a.holder("x").empty());
  CHECK(a.snapshot().empty());
  CHECK(a.hold("x", epoch).value == Held{epoch, joined.key, ""});
  CHECK(a.retain_again({version, "t", "v"}).value == version);
  CHECK(a.retain("t", "w").value > version);
  CHECK(a.claim("x", epoch + 1).value.epoch > epoch);
}

void calls_in_completions(HubWorld& world) {
  Gateway a(world, "a", 7);
  int depth = 0;
  std::function<void(Status)> next = [&](Status) {
    if (++depth < 50) a.hub().withdraw("x", 1, next);
  };
  next(Status::ok);
  CHECK(a.until([&] { return depth == 50; }));
}

}  // namespace

std::vector<HubCheck> traffic_checks() {
  return {
      {"entries arrive in order and unchanged", entries_arrive},
      {"what is sent twice is there once", sent_twice},
      {"another gateway's numbers begin at 1", numbers_begin_with_the_gateway},
      {"calls complete in order", calls_in_a_row},
      {"reading waits and delays nothing", reading_waits},
      {"several inboxes are read at once", reading_several_inboxes},
      {"a large inbox is read in pieces", reading_in_pieces},
      {"what was trimmed is gone, and ids go on", trimming},
      {"sending to nobody is refused", nobody_there},
      {"datagrams arrive", datagrams},
      {"a cut loses answers, and repeating mends it", cut_and_back},
      {"a cut ends reading", cut_while_reading},
      {"events come again after a cut", listens_again},
      {"calls while it is down are lost", calls_while_down},
      {"a loss of everything is told", everything_lost},
      {"calls may be made in completions", calls_in_completions},
  };
}

}  // namespace test
