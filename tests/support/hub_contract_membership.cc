// Leases, lives, adoption.
#include "tests/support/hub_gateway.h"

namespace test {
namespace {

using namespace contract;

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

}  // namespace

std::vector<HubCheck> membership_checks() {
  return {
      {"the first join begins a life", first_join},
      {"nodes see each other", several_nodes},
      {"a newer gateway fences the older one in all it does", newer_gateway},
      {"who has not joined is fenced", before_join},
      {"joining again changes nothing", join_again},
      {"a lease runs out and is taken again", lease_runs_out},
      {"leaving ends the lease", leave_ends_the_lease},
      {"calm is counted from the last pause", calm_is_counted},
      {"a node whose lease ran out is adopted by one", adopting},
      {"nobody adopts before everybody could renew", nobody_adopts_early},
      {"an adopted node goes on under another name", adopted_node_goes_on},
      {"an adopted node comes back as another", adopted_node_comes_back},
      {"a buried node leaves nothing", buried},
      {"what a buried node held is nobody's", buried_is_nobody},
      {"the next adopter takes over", next_adopter},
      {"a node finds what it holds and claims", what_is_mine},
  };
}

}  // namespace test
