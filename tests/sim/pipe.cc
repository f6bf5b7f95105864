#include "tests/sim/pipe.h"

#include <unistd.h>

#include <algorithm>

#include "shared/base/check.h"

namespace sim {

void Pipe::put_descriptor(int fd) {
  const int copy = dup(fd);
  CHECK(copy >= 0);
  descriptors_.push_back({begin_ + size(), base::UniqueFd(copy)});
}

std::string Pipe::take(size_t max, base::UniqueFd& descriptor) {
  size_t n = std::min(max, size());
  if (n == 0) return {};
  if (!descriptors_.empty() && descriptors_.front().position == begin_) {
    descriptor = std::move(descriptors_.front().fd);
    descriptors_.pop_front();
  }
  if (!descriptors_.empty()) n = std::min<size_t>(n, descriptors_.front().position - begin_);
  std::string out = bytes_.substr(taken_, n);
  taken_ += n;
  begin_ += n;
  if (taken_ == bytes_.size() || taken_ > 65536) {
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  return out;
}

std::string Pipe::take(size_t max) {
  base::UniqueFd none;
  return take(max, none);
}

void Pipe::truncate(size_t keep) {
  keep = std::min(keep, size());
  bytes_.resize(taken_ + keep);
  while (!descriptors_.empty() && descriptors_.back().position >= begin_ + keep) descriptors_.pop_back();
}

}  // namespace sim
