#include "shared/base/ring.h"

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <string>

#include "shared/base/random.h"

namespace base {

TEST_CASE("ring: first in, first out, across growth and wrap-around") {
  Ring<std::string> ring;
  CHECK(ring.empty());
  for (int i = 0; i < 3; ++i) ring.push_back(std::to_string(i));
  ring.pop_front();
  ring.pop_front();
  for (int i = 3; i < 40; ++i) ring.push_back(std::to_string(i));
  CHECK(ring.size() == 38);
  CHECK(ring.back() == "39");
  for (int i = 2; i < 40; ++i) {
    CHECK(ring.front() == std::to_string(i));
    ring.pop_front();
  }
  CHECK(ring.empty());
}

TEST_CASE("ring: an element of the ring itself can be appended while it grows") {
  Ring<std::string> ring;
  ring.emplace_back("a text that does not fit inside a string object");
  while (ring.size() < 100) ring.emplace_back(ring.front());
  CHECK(ring.back() == ring.front());
}

TEST_CASE("ring: costs 24 bytes while empty") {
  CHECK(sizeof(Ring<std::string>) == 24);
}

TEST_CASE("ring: moving takes everything along and leaves an empty one") {
  Ring<std::string> from;
  for (int i = 0; i < 10; ++i) from.push_back(std::to_string(i));
  Ring<std::string> to(std::move(from));
  CHECK(from.empty());  // NOLINT: says what a moved-from ring is
  from.push_back("x");
  from = std::move(to);
  CHECK(from.size() == 10);
  CHECK(from.front() == "0");
}

TEST_CASE("ring: holds types that only move, and destroys what it holds") {
  const auto witness = std::make_shared<int>(1);
  {
    Ring<std::unique_ptr<std::shared_ptr<int>>> ring;
    for (int i = 0; i < 9; ++i) ring.push_back(std::make_unique<std::shared_ptr<int>>(witness));
    ring.erase(4);
    ring.pop_front();
    CHECK(witness.use_count() == 8);
  }
  CHECK(witness.use_count() == 1);
}

TEST_CASE("ring: random operations agree with a deque") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Ring<std::string> ring;
    std::deque<std::string> model;
    for (int i = 0; i < 2000; ++i) {
      const uint64_t op = random.below(20);
      if (op < 9) {
        model.push_back(std::to_string(i));
        ring.push_back(std::to_string(i));
      } else if (op < 17 && !model.empty()) {
        model.pop_front();
        ring.pop_front();
      } else if (op < 19 && !model.empty()) {
        const size_t at = random.below(model.size());
        model.erase(model.begin() + static_cast<std::ptrdiff_t>(at));
        ring.erase(at);
      } else if (op == 19 && random.one_in(10)) {
        model.clear();
        ring.clear();
      }
      REQUIRE(ring.size() == model.size());
      if (!model.empty()) {
        REQUIRE(ring.front() == model.front());
        REQUIRE(ring.back() == model.back());
        const size_t at = random.below(model.size());
        REQUIRE(ring[at] == model[at]);
      }
    }
  }
}

}  // namespace base
