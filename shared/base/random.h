// A small seeded generator (xoshiro256**): the same seed gives the same run. Not for secrets.
#pragma once

#include <cstdint>

namespace base {

class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t below(uint64_t bound);
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_[4];
};

// 64 bits from the kernel (getrandom), to seed from.
uint64_t entropy();

}  // namespace base
