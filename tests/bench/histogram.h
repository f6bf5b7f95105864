// A histogram of durations: 32 buckets to each power of two, so a percentile is right to about 3 %.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class Histogram {
 public:
  void add(uint64_t nanoseconds) {
    ++buckets_[index(nanoseconds)];
    ++count_;
    if (nanoseconds > max_) max_ = nanoseconds;
  }
  void clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  // The value below which `share` (0..1) of the durations lie; 0 when there are none.
  uint64_t percentile(double share) const;

 private:
  static constexpr unsigned kBits = 5;
  static constexpr uint64_t kLinear = uint64_t{1} << kBits;
  static constexpr size_t kBuckets = (64 - kBits + 1) << kBits;

  static size_t index(uint64_t value) {
    if (value < kLinear) return value;
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kBits - 1;
    return ((size_t{shift} + 1) << kBits) + ((value >> shift) - kLinear);
  }
  static uint64_t lower_bound(size_t index);

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace bench
