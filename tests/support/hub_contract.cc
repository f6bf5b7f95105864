#include "tests/support/hub_contract.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace test {
namespace {

using cluster::Changes;
using cluster::Claimed;
using cluster::Copied;
using cluster::Entry;
using cluster::Held;
using cluster::Hub;
using cluster::Info;
using cluster::Membership;
using cluster::Node;
using cluster::Retained;
using cluster::Status;

constexpr uint64_t kPatience = 15'000;  // what takes longer than this does not happen
constexpr uint64_t kLong = 60'000;      // a lease that does not run out
constexpr uint64_t kShort = 400;        // one that does, in expire()

template <typename T>
struct Answered {
  Status status = Status::lost;
  T value{};
};

// A gateway: a hub and what it was told.
class Gateway final : public Hub::Events {
 public:
  explicit Gateway(HubWorld& world) : world_(world), hub_(&world.make_hub()) {
    hub_->start(*this);
    REQUIRE(until([&] { return hub_->up() && ups == 1; }));
  }
  Gateway(HubWorld& world, const std::string& name, uint64_t incarnation, uint64_t lease = kLong) : Gateway(world) {
    const auto joined = join(name, incarnation, lease);
    REQUIRE(joined.status == Status::ok);
    key = joined.value.key;
  }
  ~Gateway() override { die(); }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  void on_up(const Info& info) override {
    ++ups;
    last_info = info;
  }
  void on_down(const std::string&) override { ++downs; }
  void on_datagram(std::string_view from, std::string_view frames) override { datagrams.emplace_back(from, frames); }
  void on_nodes_changed() override { ++changes_of_nodes; }

  Hub& hub() { return *hub_; }
  void die() {
    if (hub_ != nullptr) world_.kill(*std::exchange(hub_, nullptr));
  }
  bool until(const std::function<bool()>& done) { return world_.run_until(done, kPatience); }

  // Makes a call and waits for its answer.
  template <typename T>
  Answered<T> ask(const std::function<void(Hub::Answer<T>)>& call) {
    auto answered = std::make_shared<Answered<T>>();
    auto done = std::make_shared<bool>(false);
    call([answered, done](Status status, T value) {
      *answered = {status, std::move(value)};
      *done = true;
    });
    CHECK_FALSE(*done);
    REQUIRE(until([&] { return *done; }));
    return *answered;
  }
  Status tell(const std::function<void(Hub::Done)>& call) {
    return ask<bool>([&](Hub::Answer<bool> done) { call([done](Status status) { done(status, true); }); }).status;
  }

  Answered<Membership> join(const std::string& name, uint64_t incarnation, uint64_t lease) {
    return ask<Membership>([&](auto done) { hub_->join(name, incarnation, lease, done); });
  }
  Answered<Membership> renew(uint64_t lease = kLong) {
    return ask<Membership>([&](auto done) { hub_->renew(lease, done); });
  }
  Status leave() {
    return tell([&](auto done) { hub_->leave(done); });
  }
  Status send(const std::string& to, uint64_t number, const std::string& frames) {
    return tell([&](auto done) { hub_->send(to, number, frames, done); });
  }
  Answered<std::vector<Entry>> read(const std::string& inbox, uint64_t after, size_t max_bytes = 1 << 20) {
    return ask<std::vector<Entry>>([&](auto done) { hub_->read(inbox, after, max_bytes, done); });
  }
  // Reads until there is nothing more.
  std::vector<Entry> read_all(const std::string& inbox, uint64_t after = 0, size_t max_bytes = 1 << 20) {
    std::vector<Entry> all;
    while (true) {
      const auto piece = read(inbox, after, max_bytes);
      REQUIRE(piece.status == Status::ok);
      if (piece.value.empty()) return all;
      all.insert(all.end(), piece.value.begin(), piece.value.end());
      after = all.back().id;
    }
  }
  Status trim(uint64_t id) {
    return tell([&](auto done) { hub_->trim(id, done); });
  }
  Answered<Claimed> claim(std::string_view client, uint64_t at_least = 0) {
    return ask<Claimed>([&](auto done) { hub_->claim(client, at_least, done); });
  }
  Answered<Held> hold(std::string_view client, uint64_t epoch) {
    return ask<Held>([&](auto done) { hub_->hold(client, epoch, done); });
  }
  // Claims and holds; the epoch.
  uint64_t own(std::string_view client) {
    const uint64_t epoch = claim(client).value.epoch;
    CHECK(hold(client, epoch).value.holder == key);
    return epoch;
  }
  Status withdraw(std::string_view client, uint64_t epoch) {
    return tell([&](auto done) { hub_->withdraw(client, epoch, done); });
  }
  Status release(std::string_view client, uint64_t epoch) {
    return tell([&](auto done) { hub_->release(client, epoch, done); });
  }
  std::string holder(std::string_view client) {
    const auto answer = ask<std::string>([&](auto done) { hub_->holder(client, done); });
    CHECK(answer.status == Status::ok);
    return answer.value;
  }
  Claimed before(std::string_view client, uint64_t epoch) {
    const auto answer = ask<Claimed>([&](auto done) { hub_->before(client, epoch, done); });
    CHECK(answer.status == Status::ok);
    return answer.value;
  }
  // What it holds, or (false) claims, with which epoch.
  std::map<std::pair<std::string, bool>, uint64_t> mine() {
    std::map<std::pair<std::string, bool>, uint64_t> all;
    for (uint32_t part = 0; part < hub_->directory_parts(); ++part) {
      const auto piece = ask<std::vector<Hub::Mine>>([&](auto done) { hub_->mine(part, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Hub::Mine& entry : piece.value) all[{entry.client, entry.holds}] = entry.epoch;
    }
    return all;
  }
  Answered<uint64_t> retain(std::string_view topic, std::string_view value, uint64_t at_least = 0) {
    return ask<uint64_t>([&](auto done) { hub_->retain(topic, value, at_least, done); });
  }
  Answered<uint64_t> retain_again(const Retained& item) {
    return ask<uint64_t>([&](auto done) { hub_->retain_again(item, done); });
  }
  Answered<Changes> changes(uint64_t after) {
    return ask<Changes>([&](auto done) { hub_->changes(after, done); });
  }
  // topic -> (version, value) of everything that is kept.
  std::map<std::string, std::pair<uint64_t, std::string>> snapshot() {
    std::map<std::string, std::pair<uint64_t, std::string>> all;
    uint64_t cursor = 0;
    do {
      const auto piece = ask<Changes>([&](auto done) { hub_->snapshot(cursor, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Retained& item : piece.value.items) all[item.topic] = {item.version, item.value};
      cursor = piece.value.next;
    } while (cursor != 0);
    return all;
  }
  Status begin_copy(uint32_t slot, uint64_t round) {
    return tell([&](auto done) { hub_->begin_copy(slot, round, done); });
  }
  Status copy(uint32_t slot, uint64_t round, const store::Batch& batch) {
    return tell([&](auto done) { hub_->copy(slot, round, batch, done); });
  }
  Status finish_copy(uint32_t slot, uint64_t round) {
    return tell([&](auto done) { hub_->finish_copy(slot, round, done); });
  }
  // (slot, key) -> value of a node's copy.
  std::map<std::pair<uint32_t, std::string>, std::string> read_copy(const std::string& node) {
    std::map<std::pair<uint32_t, std::string>, std::string> all;
    uint64_t cursor = 0;
    do {
      const auto piece = ask<Hub::Records>([&](auto done) { hub_->read_copy(node, cursor, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Copied& item : piece.value.items) all[{item.slot, item.key}] = item.value;
      cursor = piece.value.next;
    } while (cursor != 0);
    return all;
  }
  Answered<std::string> adopt(const std::string& node, uint64_t within = kLong) {
    return ask<std::string>([&](auto done) { hub_->adopt(node, kShort, within, done); });
  }
  Status bury() {
    return tell([&](auto done) { hub_->bury(done); });
  }

  std::string key;
  int ups = 0;
  int downs = 0;
  int changes_of_nodes = 0;
  Info last_info;
  std::vector<std::pair<std::string, std::string>> datagrams;

 private:
  HubWorld& world_;
  Hub* hub_;
};

void pass(HubWorld& world, uint64_t ms) {
  world.run_until([] { return false; }, ms);
}

// The lease of a node that was taken with kShort runs out.
void expire(HubWorld& world) {
  pass(world, kShort + 50);
}

// Whoever has taken a lease of kShort could have renewed it, and did not for so long that it may be adopted.
void calm(HubWorld& world) {
  pass(world, 2 * kShort + 50);
}

const Node* find(const std::vector<Node>& nodes, const std::string& key) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const Node& node) { return node.key == key; });
  return found == nodes.end() ? nullptr : &*found;
}

store::Batch puts(std::initializer_list<std::pair<const char*, const char*>> records) {
  store::Batch batch;
  for (const auto& [key, value] : records) batch.put(key, value);
  return batch;
}

std::string text(const std::string& prefix, size_t number) {
  return prefix + std::to_string(number);
}

const std::string kBytes("\0\r\n$5 \xFF{}%*:", 12);  // what must go through everything unchanged

// --- membership ---

void first_join(HubWorld& world) {
  Gateway a(world);
  const auto joined = a.join("host.a", 7, kLong);
  REQUIRE(joined.status == Status::ok);
  CHECK(joined.value.fresh);
  CHECK(joined.value.key.starts_with("host.a."));
  CHECK(joined.value.cluster_id != 0);
  CHECK(joined.value.cluster_id == a.last_info.cluster_id);
  REQUIRE(joined.value.nodes.size() == 1);
  const Node& node = joined.value.nodes[0];
  CHECK(node.key == joined.value.key);
  CHECK(node.gateway == 7);
  CHECK(node.adopter.empty());
  CHECK((node.remaining_ms > 0 && node.remaining_ms <= kLong));
}

void several_nodes(HubWorld& world) {
  Gateway a(world, "a", 7);
  Gateway b(world, "b", 3);
  CHECK(a.until([&] { return a.changes_of_nodes > 0; }));
  const auto seen = a.renew().value;
  CHECK(seen.key == a.key);
  CHECK_FALSE(seen.fresh);
  CHECK(seen.nodes.size() == 2);
  REQUIRE(find(seen.nodes, b.key) != nullptr);
  CHECK(find(seen.nodes, b.key)->gateway == 3);
  CHECK(seen.cluster_id == b.last_info.cluster_id);
}

void newer_gateway(HubWorld& world) {
  Gateway old(world, "a", 7);
  Gateway other(world, "b", 1);
  Gateway fresh(world);
  const auto joined = fresh.join("a", 8, kLong);
  CHECK(joined.value.key == old.key);
  CHECK_FALSE(joined.value.fresh);
  CHECK(find(other.renew().value.nodes, old.key)->gateway == 8);
  CHECK(old.renew().status == Status::fenced);
  CHECK(old.leave() == Status::fenced);
  CHECK(old.send(other.key, 1, "x") == Status::fenced);
  CHECK(old.trim(1) == Status::fenced);
  CHECK(old.claim("c").status == Status::fenced);
  CHECK(old.hold("c", 1).status == Status::fenced);
  CHECK(old.withdraw("c", 1) == Status::fenced);
  CHECK(old.release("c", 1) == Status::fenced);
  CHECK(old.retain("t", "v").status == Status::fenced);
  CHECK(old.retain_again({1, "t", "v"}).status == Status::fenced);
  CHECK(old.begin_copy(0, 1) == Status::fenced);
  CHECK(old.copy(0, 1, puts({{"k", "v"}})) == Status::fenced);
  CHECK(old.finish_copy(0, 1) == Status::fenced);
  CHECK(old.tell([&](auto done) { old.hub().keep_copies(0, done); }) == Status::fenced);
  CHECK(old.ask<std::vector<Hub::Mine>>([&](auto done) { old.hub().mine(0, done); }).status == Status::fenced);
  CHECK(old.adopt(other.key).status == Status::fenced);
  CHECK(old.bury() == Status::fenced);
  CHECK(old.join("a", 7, kLong).status == Status::fenced);
  CHECK(fresh.renew().status == Status::ok);
  CHECK(other.holder("c").empty());
  CHECK(other.snapshot().empty());
  CHECK(other.read_copy(old.key).empty());
  CHECK(other.read_all(other.key).empty());
}

void before_join(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway stranger(world);
  CHECK(stranger.renew().status == Status::fenced);
  CHECK(stranger.send(a.key, 1, "x") == Status::fenced);
  CHECK(stranger.claim("c").status == Status::fenced);
}

void join_again(HubWorld& world) {
  Gateway a(world, "a", 7);
  const auto again = a.join("a", 7, kLong);
  CHECK(again.status == Status::ok);
  CHECK(again.value.key == a.key);
  CHECK_FALSE(again.value.fresh);
}

void lease_runs_out(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  Gateway b(world, "b", 1);
  CHECK(find(b.renew().value.nodes, a.key)->remaining_ms > 0);
  expire(world);
  CHECK(find(b.renew().value.nodes, a.key)->remaining_ms == 0);
  CHECK(a.renew().status == Status::ok);
  CHECK(find(b.renew().value.nodes, a.key)->remaining_ms > kShort);
}

void leave_ends_the_lease(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const int before = b.changes_of_nodes;
  CHECK(a.leave() == Status::ok);
  CHECK(b.until([&] { return b.changes_of_nodes > before; }));
  const auto nodes = b.renew().value.nodes;
  REQUIRE(find(nodes, a.key) != nullptr);
  CHECK(find(nodes, a.key)->remaining_ms == 0);
}

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

// --- directory ---

void claim_of_the_unknown(HubWorld& world) {
  Gateway a(world, "a", 1);
  const auto first = a.claim(kBytes);
  CHECK(first.status == Status::ok);
  CHECK(first.value.epoch > 0);
  CHECK(first.value.previous.empty());
  CHECK(a.holder(kBytes).empty());
  CHECK(a.claim("other").value.epoch > first.value.epoch);
  const uint64_t far = first.value.epoch + 1'000'000'000'000;
  CHECK(a.claim("third", far).value.epoch == far);
  CHECK(a.claim("third").value.epoch > far);
}

void claim_from_the_holder(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t first = a.own("c");
  CHECK(a.holder("c") == a.key);
  const auto claimed = b.claim("c");
  CHECK(claimed.value.previous == a.key);
  CHECK(claimed.value.epoch > first);
  CHECK(b.holder("c") == a.key);
  const auto held = b.hold("c", claimed.value.epoch);
  CHECK(held.status == Status::ok);
  CHECK(held.value.holder == b.key);
  CHECK(held.value.previous == a.key);
  CHECK(held.value.epoch == claimed.value.epoch);
  CHECK(a.holder("c") == b.key);
  CHECK(b.claim("c").value.previous == b.key);
}

void chain_of_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  a.own("x");
  const auto second = b.claim("x").value;
  const auto third = c.claim("x").value;
  CHECK(second.previous == a.key);
  CHECK(third.previous == b.key);
  CHECK(third.epoch > second.epoch);
  // b has got it before c wants it from b: it holds, and is told of a newer claim.
  const auto held = b.hold("x", second.epoch).value;
  CHECK(held.holder == b.key);
  CHECK(held.previous == a.key);
  CHECK(held.epoch == third.epoch);
  const auto last = c.hold("x", third.epoch).value;
  CHECK(last.holder == c.key);
  CHECK(last.previous == b.key);
  CHECK(last.epoch == third.epoch);
}

void claim_again(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  a.own("x");
  const auto first = b.claim("x").value;
  const auto again = b.claim("x").value;  // the first answer may have been lost
  CHECK(again.previous == a.key);
  CHECK(again.epoch > first.epoch);
  CHECK(b.hold("x", again.epoch).value.holder == b.key);
  CHECK(b.hold("x", again.epoch).value == Held{again.epoch, b.key, ""});
}

void hold_without_a_claim(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  CHECK(a.hold("x", 100).value == Held{100, a.key, ""});
  CHECK(b.hold("x", 50).value == Held{100, a.key, ""});
  CHECK(b.hold("x", 200).value == Held{200, b.key, a.key});
  CHECK(a.hold("x", 100).value == Held{200, b.key, ""});
  CHECK(a.claim("x").value.epoch > 200);
}

void old_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t old = a.claim("x").value.epoch;
  const uint64_t held = b.own("x");
  CHECK(a.hold("x", old).value == Held{held, b.key, ""});
  CHECK(a.withdraw("x", old) == Status::ok);
  CHECK(a.release("x", old) == Status::ok);
  CHECK(a.holder("x") == b.key);
}

void withdrawing(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  a.own("x");
  const uint64_t epoch = b.claim("x").value.epoch;
  CHECK(b.withdraw("x", epoch) == Status::ok);
  CHECK(b.withdraw("x", epoch) == Status::ok);
  CHECK(c.holder("x") == a.key);
  const auto claimed = c.claim("x").value;
  CHECK(claimed.previous == a.key);
  CHECK(claimed.epoch > epoch);
  const uint64_t alone = b.claim("y").value.epoch;
  CHECK(b.withdraw("y", alone) == Status::ok);
  CHECK(c.claim("y").value.previous.empty());
}

void releasing(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t epoch = a.own("x");
  CHECK(b.release("x", epoch + 10) == Status::ok);  // not b's
  CHECK(a.release("x", epoch - 1) == Status::ok);   // an older one
  CHECK(b.holder("x") == a.key);
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(b.holder("x").empty());
  const auto claimed = b.claim("x").value;
  CHECK(claimed.previous.empty());
  CHECK(claimed.epoch > epoch);
  CHECK(b.release("x", claimed.epoch) == Status::ok);  // only claimed
  CHECK(a.claim("x").value.previous.empty());
}

void releasing_what_another_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t epoch = a.own("x");
  const uint64_t claimed = b.claim("x").value.epoch;
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(b.holder("x").empty());
  CHECK(b.hold("x", claimed).value.holder == b.key);
  CHECK(a.holder("x") == b.key);
}

void withdrawing_what_others_claim(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  const uint64_t first = a.claim("x").value.epoch;
  const uint64_t second = b.claim("x").value.epoch;
  CHECK(b.withdraw("x", second) == Status::ok);
  const auto third = c.claim("x").value;
  CHECK(third.previous == a.key);  // who is about to have it
  CHECK(a.withdraw("x", first) == Status::ok);
  CHECK(b.claim("x").value.previous == c.key);
}

void who_claimed_before(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  CHECK(a.before("x", 1) == Claimed{});
  a.own("x");
  const uint64_t first = b.claim("x").value.epoch;
  const uint64_t second = c.claim("x").value.epoch;
  const uint64_t third = a.claim("x").value.epoch;
  CHECK(a.before("x", third) == Claimed{second, c.key});
  CHECK(a.before("x", second) == Claimed{first, b.key});
  CHECK(a.before("x", first) == Claimed{0, a.key});
  CHECK(c.withdraw("x", second) == Status::ok);
  CHECK(c.claim("x").value.epoch > third);
  CHECK(a.before("x", third) == Claimed{first, b.key});
  b.hold("x", first);
  CHECK(a.before("x", third) == Claimed{0, b.key});
}

// --- retained messages ---

void versions_grow(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const auto first = a.retain("t", "1");
  const auto second = b.retain("u", "2");
  CHECK(first.status == Status::ok);
  CHECK(second.value > first.value);
  const uint64_t far = second.value + 1'000'000'000'000;
  CHECK(a.retain("t", "3", far).value >= far);
  CHECK(b.retain("v", "4").value > far);
}

void changes_arrive(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const auto start = b.changes(0);
  CHECK(start.status == Status::ok);
  CHECK(start.value.items.empty());
  CHECK_FALSE(start.value.gap);
  REQUIRE(start.value.next != 0);
  const auto nothing = b.changes(start.value.next);
  CHECK(nothing.status == Status::ok);
  CHECK(nothing.value == Changes{start.value.next, false, {}});
  const uint64_t first = a.retain(kBytes, kBytes).value;
  const uint64_t second = b.retain("u", std::string(100'000, 'u')).value;
  const uint64_t third = a.retain(kBytes, "").value;
  std::vector<Retained> got;
  uint64_t after = start.value.next;
  while (got.size() < 3) {
    const auto piece = b.changes(after).value;
    CHECK_FALSE(piece.gap);
    REQUIRE_FALSE(piece.items.empty());
    got.insert(got.end(), piece.items.begin(), piece.items.end());
    after = piece.next;
  }
  CHECK(got[0] == Retained{first, kBytes, kBytes});
  CHECK(got[1] == Retained{second, "u", std::string(100'000, 'u')});
  CHECK(got[2] == Retained{third, kBytes, ""});
  CHECK(b.changes(after).value == Changes{after, false, {}});
}

void changes_wake(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t start = b.changes(0).value.next;
  Changes got;
  b.hub().changes(start, [&](Status, Changes changes) { got = std::move(changes); });
  CHECK(b.renew().status == Status::ok);
  const uint64_t version = a.retain("t", "v").value;
  CHECK(b.until([&] { return got.next != 0; }));
  REQUIRE(got.items.size() == 1);
  CHECK(got.items[0] == Retained{version, "t", "v"});
}

void snapshots(HubWorld& world) {
  Gateway a(world, "a", 1);
  CHECK(a.snapshot().empty());
  for (size_t i = 0; i < 1000; ++i) a.hub().retain(text("t/", i), text("v", i), 0, [](Status, uint64_t) {});
  const uint64_t deleted = a.retain("t/7", "").value;
  const uint64_t bytes = a.retain(kBytes, kBytes).value;
  auto all = a.snapshot();
  CHECK(all.size() == 1001);
  CHECK(all["t/999"].second == "v999");
  CHECK(all["t/7"] == std::pair(deleted, std::string()));
  CHECK(all[kBytes] == std::pair(bytes, kBytes));
}

void retaining_again(HubWorld& world) {
  Gateway a(world, "a", 1);
  const uint64_t start = a.changes(0).value.next;
  CHECK(a.retain_again({1000, "t", "old"}).value == 1000);
  CHECK(a.retain_again({999, "t", "older"}).value == 1000);
  CHECK(a.retain_again({1000, "t", "same"}).value == 1000);
  CHECK(a.retain_again({2000, "t", "new"}).value == 2000);
  CHECK(a.retain_again({1500, "u", ""}).value == 1500);
  CHECK(a.snapshot()["t"] == std::pair(uint64_t{2000}, std::string("new")));
  CHECK(a.snapshot()["u"] == std::pair(uint64_t{1500}, std::string()));
  std::vector<Retained> got;
  for (uint64_t after = start; got.size() < 3;) {
    const auto piece = a.changes(after).value;
    REQUIRE_FALSE(piece.items.empty());
    got.insert(got.end(), piece.items.begin(), piece.items.end());
    after = piece.next;
  }
  CHECK(got == std::vector<Retained>{{1000, "t", "old"}, {2000, "t", "new"}, {1500, "u", ""}});
  const uint64_t far = a.retain("w", "").value + 1'000'000'000'000;
  CHECK(a.retain_again({far, "v", "x"}).value == far);
  CHECK(a.retain("t", "newest").value > far);
}

// --- copies ---

void copies(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  CHECK(b.read_copy(a.key).empty());
  CHECK(a.copy(0, 5, puts({{"k", "v"}})) == Status::refused);
  CHECK(a.begin_copy(0, 5) == Status::ok);
  CHECK(a.begin_copy(3, 5) == Status::ok);
  CHECK(a.copy(0, 5, puts({{"k1", "v1"}, {"k2", "v2"}})) == Status::ok);
  CHECK(a.copy(3, 5, puts({{"k1", "other"}})) == Status::ok);
  CHECK(b.read_copy(a.key).size() == 3);  // better than nothing
  CHECK(a.finish_copy(0, 5) == Status::ok);
  CHECK(a.finish_copy(0, 5) == Status::ok);
  store::Batch batch;
  batch.erase("k1");
  batch.put(kBytes, kBytes);
  batch.put("k2", "gone");
  batch.erase("k2");
  batch.put("k2", "back");
  batch.erase("k3");
  CHECK(a.copy(0, 5, batch) == Status::ok);
  auto all = b.read_copy(a.key);
  CHECK(all.size() == 3);
  CHECK(all[{0, "k2"}] == "back");
  CHECK(all[{0, kBytes}] == kBytes);
  CHECK(all[{3, "k1"}] == "other");
  CHECK(b.read_copy(b.key).empty());
  CHECK(a.tell([&](auto done) { a.hub().keep_copies(1, done); }) == Status::ok);
  CHECK(b.read_copy(a.key).size() == 2);
  CHECK(a.copy(0, 5, store::Batch()) == Status::ok);
}

void rounds_of_copies(HubWorld& world) {
  Gateway a(world, "a", 1);
  CHECK(a.begin_copy(0, 5) == Status::ok);
  CHECK(a.copy(0, 5, puts({{"k", "first"}, {"old", "v"}})) == Status::ok);
  CHECK(a.finish_copy(0, 5) == Status::ok);
  CHECK(a.begin_copy(0, 6) == Status::ok);
  CHECK(a.begin_copy(0, 6) == Status::ok);
  CHECK(a.copy(0, 6, puts({{"k", "second"}})) == Status::ok);
  CHECK(a.read_copy(a.key)[{0, "k"}] == "first");
  CHECK(a.begin_copy(0, 7) == Status::ok);  // the round before came to nothing
  CHECK(a.copy(0, 6, puts({{"k", "late"}})) == Status::refused);
  CHECK(a.finish_copy(0, 6) == Status::refused);
  CHECK(a.copy(0, 7, puts({{"k", "third"}})) == Status::ok);
  CHECK(a.read_copy(a.key).size() == 2);
  CHECK(a.finish_copy(0, 7) == Status::ok);
  const auto all = a.read_copy(a.key);
  REQUIRE(all.size() == 1);
  CHECK(all.begin()->second == "third");
  CHECK(a.copy(0, 5, puts({{"k", "late"}})) == Status::refused);
}

void large_copies(HubWorld& world) {
  Gateway a(world, "a", 1);
  store::Batch batch;
  for (size_t i = 0; i < 20'000; ++i) batch.put(text("key", i), std::string(100, 'v'));
  CHECK(a.begin_copy(1, 1) == Status::ok);
  CHECK(a.begin_copy(200, 1) == Status::ok);
  CHECK(a.copy(1, 1, batch) == Status::ok);
  CHECK(a.copy(200, 1, puts({{"k", "v"}})) == Status::ok);
  CHECK(a.read_copy(a.key).size() == 20'001);
}

// --- adoption ---

void calm_is_counted(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  CHECK(a.renew(kLong).value.calm_ms < kShort);
  pass(world, kShort);
  CHECK(a.renew(kLong).value.calm_ms >= kShort);
  pass(world, kShort);
  CHECK(a.renew(kShort).value.calm_ms == 0);  // that was a pause
  Gateway b(world, "b", 1, kLong);
  CHECK(b.renew(kLong).value.calm_ms < kShort);
}

void adopting(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  CHECK(c.adopt(b.key).value.empty());  // alive
  CHECK(b.adopt(a.key).value.empty());
  calm(world);
  const int before = c.changes_of_nodes;
  const std::string name = b.adopt(a.key).value;
  CHECK_FALSE(name.empty());
  CHECK(b.adopt(a.key).value == name);
  CHECK(c.adopt(a.key).value.empty());
  CHECK(c.until([&] { return c.changes_of_nodes > before; }));
  const auto nodes = c.renew().value.nodes;
  CHECK(find(nodes, a.key)->adopter == b.key);
  CHECK(find(nodes, a.key)->gateway == 0);
  CHECK(a.renew().status == Status::fenced);
  CHECK(a.claim("x").status == Status::fenced);
  CHECK(b.adopt("nobody.1").value.empty());
}

void nobody_adopts_early(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  expire(world);
  Gateway b(world, "b", 1, kShort);  // for half a lease nobody renewed: nobody could, maybe
  CHECK(b.adopt(a.key).value.empty());
  calm(world);
  CHECK_FALSE(b.adopt(a.key).value.empty());
}

void adopted_node_goes_on(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  CHECK(c.send(a.key, 1, "before") == Status::ok);
  const uint64_t epoch = a.own("client");
  calm(world);
  const std::string name = b.adopt(a.key).value;
  CHECK(c.send(a.key, 2, "between") == Status::ok);
  Gateway guest(world);
  const auto joined = guest.join(name, 2, kLong).value;
  CHECK(joined.key == a.key);
  CHECK_FALSE(joined.fresh);
  CHECK(find(joined.nodes, a.key)->gateway == 2);
  CHECK(find(joined.nodes, a.key)->adopter == b.key);
  CHECK(c.send(a.key, 3, "after") == Status::ok);
  const auto entries = guest.read_all(a.key);
  REQUIRE(entries.size() == 3);
  CHECK(joined.inbox_end == entries[1].id);
  CHECK(guest.trim(entries[0].id) == Status::ok);
  CHECK(guest.hold("client", epoch).value.holder == a.key);
  Gateway again(world);
  CHECK(again.join(name, 3, kLong).value.key == a.key);
  CHECK(again.read_all(a.key).size() == 2);
  CHECK(guest.renew().status == Status::fenced);
}

void adopted_node_comes_back(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  Gateway b(world, "b", 1);
  const uint64_t epoch = a.own("client");
  calm(world);
  Gateway guest(world, b.adopt(a.key).value, 5);
  CHECK(guest.key == a.key);
  Gateway back(world);
  const auto joined = back.join("a", 2, kLong).value;
  CHECK(joined.fresh);
  CHECK(joined.key != a.key);
  CHECK(joined.key.starts_with("a."));
  CHECK(find(joined.nodes, a.key) != nullptr);
  const auto held = back.hold("client", epoch).value;  // with its old epoch it does not take it back
  CHECK(held.holder == a.key);
  CHECK(held.previous.empty());
  CHECK(back.claim("client").value.previous == a.key);
  CHECK(guest.bury() == Status::ok);
  CHECK(back.renew().status == Status::ok);
  CHECK(back.join("a", 3, kLong).value.key == joined.key);
}

void buried(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  CHECK(a.begin_copy(0, 1) == Status::ok);
  CHECK(a.copy(0, 1, puts({{"k", "v"}})) == Status::ok);
  CHECK(a.finish_copy(0, 1) == Status::ok);
  CHECK(a.begin_copy(5, 1) == Status::ok);
  CHECK(a.copy(5, 1, puts({{"k", "v"}})) == Status::ok);
  CHECK(b.send(a.key, 1, "x") == Status::ok);
  CHECK(a.bury() == Status::refused);  // somebody has still something for it
  const auto entries = a.read_all(a.key);
  CHECK(a.trim(entries[0].id) == Status::ok);
  CHECK(a.bury() == Status::ok);
  CHECK(b.read_copy(a.key).empty());
  CHECK(find(b.renew().value.nodes, a.key) == nullptr);
  CHECK(b.adopt(a.key).value.empty());
  CHECK(a.renew().status == Status::fenced);
  CHECK(b.send(a.key, 2, "gone") == Status::ok);
  CHECK(b.read_all(a.key).empty());
  CHECK(a.join("a", 2, kLong).value.fresh);
}

void buried_is_nobody(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  a.own("held");
  a.own("claimed");
  const uint64_t epoch = b.claim("claimed").value.epoch;
  CHECK(a.bury() == Status::ok);
  CHECK(b.holder("held").empty());
  CHECK(b.claim("held").value.previous.empty());
  CHECK(b.claim("claimed").value.previous.empty());
  CHECK(b.holder("claimed").empty());
  const auto held = b.hold("claimed", epoch + 1).value;
  CHECK(held.holder == b.key);
  CHECK(held.previous.empty());
}

void next_adopter(HubWorld& world) {
  Gateway a(world, "a", 1, kShort);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  calm(world);
  const std::string name = b.adopt(a.key, kShort).value;
  CHECK_FALSE(name.empty());
  CHECK(c.adopt(a.key).value.empty());
  calm(world);  // nobody has joined under that name
  const std::string other = c.adopt(a.key).value;
  CHECK_FALSE(other.empty());
  CHECK(other != name);
  CHECK(b.adopt(a.key).value.empty());
  Gateway late(world);
  CHECK(late.join(name, 9, kLong).value.key != a.key);
  Gateway guest(world, other, 7);
  CHECK(guest.key == a.key);
}

void what_is_mine(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  std::map<std::pair<std::string, bool>, uint64_t> expected;
  for (size_t i = 0; i < 50; ++i) expected[{text("a", i), true}] = a.own(text("a", i));
  b.own("b");
  b.own("claimed by a");
  expected[{"claimed by a", false}] = a.claim("claimed by a").value.epoch;
  expected[{"claimed by b", true}] = a.own("claimed by b");
  b.claim("claimed by b");
  CHECK(a.mine() == expected);
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

const std::vector<HubCheck>& hub_checks() {
  static const std::vector<HubCheck> checks = {
      {"the first join begins a life", first_join},
      {"nodes see each other", several_nodes},
      {"a newer gateway fences the older one in all it does", newer_gateway},
      {"who has not joined is fenced", before_join},
      {"joining again changes nothing", join_again},
      {"a lease runs out and is taken again", lease_runs_out},
      {"leaving ends the lease", leave_ends_the_lease},
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
      {"an unknown client id can be claimed", claim_of_the_unknown},
      {"a claim names the holder", claim_from_the_holder},
      {"a claim names the claimant before", chain_of_claims},
      {"a claim that is repeated names the same", claim_again},
      {"the higher epoch holds", hold_without_a_claim},
      {"old claims change nothing", old_claims},
      {"a withdrawn claim leaves the holder", withdrawing},
      {"a released entry is forgotten", releasing},
      {"what another claims is not forgotten", releasing_what_another_claims},
      {"a withdrawn claim leaves those of others", withdrawing_what_others_claim},
      {"who claimed before is told, or the holder", who_claimed_before},
      {"versions grow over all topics", versions_grow},
      {"changes arrive in order", changes_arrive},
      {"a change wakes the reader", changes_wake},
      {"a snapshot has everything", snapshots},
      {"what has a version keeps it", retaining_again},
      {"copies hold what batches made", copies},
      {"a copy that is made anew replaces the old one when it is whole", rounds_of_copies},
      {"large copies are read in pieces", large_copies},
      {"calm is counted from the last pause", calm_is_counted},
      {"a node whose lease ran out is adopted by one", adopting},
      {"nobody adopts before everybody could renew", nobody_adopts_early},
      {"an adopted node goes on under another name", adopted_node_goes_on},
      {"an adopted node comes back as another", adopted_node_comes_back},
      {"a buried node leaves nothing", buried},
      {"what a buried node held is nobody's", buried_is_nobody},
      {"the next adopter takes over", next_adopter},
      {"a node finds what it holds and claims", what_is_mine},
      {"a cut loses answers, and repeating mends it", cut_and_back},
      {"a cut ends reading", cut_while_reading},
      {"events come again after a cut", listens_again},
      {"calls while it is down are lost", calls_while_down},
      {"a loss of everything is told", everything_lost},
      {"calls may be made in completions", calls_in_completions},
  };
  return checks;
}

void check_hubs(const MakeHubWorld& make_world) {
  for (const HubCheck& check : hub_checks()) {
    INFO("check: ", std::string(check.name));
    const std::unique_ptr<HubWorld> world = make_world();
    check.run(*world);
  }
}

}  // namespace test
