// Retained messages, and copies of what is stored.
#include "tests/support/hub_gateway.h"

namespace test {
namespace {

using namespace contract;

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

}  // namespace

std::vector<HubCheck> state_checks() {
  return {
      {"versions grow over all topics", versions_grow},
      {"changes arrive in order", changes_arrive},
      {"a change wakes the reader", changes_wake},
      {"a snapshot has everything", snapshots},
      {"what has a version keeps it", retaining_again},
      {"copies hold what batches made", copies},
      {"a copy that is made anew replaces the old one when it is whole", rounds_of_copies},
      {"large copies are read in pieces", large_copies},
  };
}

}  // namespace test
