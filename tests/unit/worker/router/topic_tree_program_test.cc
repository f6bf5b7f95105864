#include "tests/unit/worker/router/topic_tree_program.h"

#include <doctest/doctest.h>

#include "shared/base/random.h"

namespace router::test {
namespace {

std::string random_bytes(uint64_t seed, size_t n) {
  base::Random random(seed);
  std::string bytes(n, '\0');
  for (char& b : bytes) b = static_cast<char>(random.below(256));
  return bytes;
}

}  // namespace

TEST_CASE("topic_tree: random programs agree with a naive matcher") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const std::string bytes = random_bytes(seed, seed % 20 == 0 ? 10'000 : 1'000);
    CHECK_NOTHROW(TopicTreeProgram(bytes).run());
  }
}

}  // namespace router::test
