#include "shared/base/random.h"

#include <doctest/doctest.h>

#include <array>

namespace base {

TEST_CASE("random: the same seed gives the same numbers, another seed others") {
  Random a(7);
  Random b(7);
  Random c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.next();
    CHECK(value == b.next());
    differs = differs || value != c.next();
  }
  CHECK(differs);
}

TEST_CASE("random: below stays below and reaches every value evenly") {
  Random random(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts.at(random.below(7));
  for (const int n : counts) CHECK(n == doctest::Approx(10'000).epsilon(0.05));
  CHECK(random.below(1) == 0);
}

TEST_CASE("random: below is even for bounds that do not divide the range") {
  Random random(1);
  constexpr uint64_t kBound = 3ULL << 62;  // a remainder would favour the lowest third
  int low = 0;
  for (int i = 0; i < 30'000; ++i) low += random.below(kBound) < kBound / 3 ? 1 : 0;
  CHECK(low == doctest::Approx(10'000).epsilon(0.05));
}

TEST_CASE("random: one_in") {
  Random random(1);
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) hits += random.one_in(10) ? 1 : 0;
  CHECK(hits == doctest::Approx(1000).epsilon(0.1));
  CHECK(random.one_in(1));
}

TEST_CASE("random: the kernel's entropy is not constant") {
  CHECK(entropy() != entropy());
}

}  // namespace base
