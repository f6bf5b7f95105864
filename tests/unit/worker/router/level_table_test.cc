#include "worker/router/level_table.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

#include "shared/base/random.h"

namespace router {
namespace {

constexpr auto kAnything = [](uint32_t) { return true; };

}  // namespace

TEST_CASE("level_table: finds what was inserted and not erased, also among equal keys") {
  base::Random random(1);
  LevelTable table;
  std::map<uint32_t, uint32_t> keys;  // by id
  for (uint32_t round = 0; round < 20'000; ++round) {
    const auto id = 1 + static_cast<uint32_t>(random.below(500));
    const auto known = keys.find(id);
    if (known != keys.end()) {
      table.erase(known->second, id);
      keys.erase(known);
    } else {
      keys[id] = static_cast<uint32_t>(random.below(random.one_in(2) ? 16 : 1000));
      table.insert(keys[id], id);
    }
    const auto asked = 1 + static_cast<uint32_t>(random.below(500));
    const uint32_t key = keys.contains(asked) ? keys[asked] : 3;
    REQUIRE(table.find(key, [&](uint32_t i) { return i == asked; }) == (keys.contains(asked) ? asked : 0));
    REQUIRE(table.size() == keys.size());
  }
}

TEST_CASE("level_table: an unknown key is not found in an empty or full table") {
  LevelTable table;
  CHECK(table.find(5, kAnything) == 0);
  for (uint32_t id = 1; id <= 1000; ++id) table.insert(id * 2, id);
  CHECK(table.find(5, kAnything) == 0);
  CHECK(table.find(2000, kAnything) == 1000);
}

TEST_CASE("level_table: gives memory back") {
  LevelTable table;
  const size_t empty = table.memory();
  for (uint32_t id = 1; id <= 100'000; ++id) table.insert(child_key(id, 1), id);
  for (uint32_t id = 1; id <= 100'000; ++id) table.erase(child_key(id, 1), id);
  CHECK(table.size() == 0);
  CHECK(table.memory() == empty);
}

TEST_CASE("level_hasher: texts of any length and near-equal ones get their own hash") {
  const LevelHasher hasher(42);
  std::set<uint64_t> seen;
  std::string text;
  for (size_t n = 0; n < 100; ++n, text += 'a') {
    seen.insert(hasher(text));
    for (size_t i = 0; i < n; ++i) {
      std::string other = text;
      other[i] = 'b';
      seen.insert(hasher(other));
    }
  }
  CHECK(seen.size() == 100 + 99 * 100 / 2);
}

TEST_CASE("level_hasher: depends on its seed, and child keys on the parent") {
  CHECK(LevelHasher(1)("level") != LevelHasher(2)("level"));
  const uint64_t hash = LevelHasher(1)("level");
  std::set<uint32_t> keys;
  for (uint32_t parent = 0; parent < 10'000; ++parent) keys.insert(child_key(parent, hash));
  CHECK(keys.size() > 9'990);
}

}  // namespace router
