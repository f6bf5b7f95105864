#include "tests/bench/histogram.h"

#include <algorithm>

namespace bench {

uint64_t Histogram::lower_bound(size_t index) {
  if (index < kLinear) return index;
  const size_t shift = (index >> kBits) - 1;
  return (kLinear + (index & (kLinear - 1))) << shift;
}

uint64_t Histogram::percentile(double share) const {
  if (count_ == 0) return 0;
  const auto rank = static_cast<uint64_t>(share * static_cast<double>(count_ - 1));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen > rank) return std::min(lower_bound(i), max_);
  }
  return max_;
}

}  // namespace bench
