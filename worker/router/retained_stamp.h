// Where a retained message stands in the order of its topic's changes; what it means is known to who owns the tree.
#pragma once

#include <cstdint>

namespace router {

struct RetainedStamp {
  uint64_t version = 0;
  uint32_t round = 0;
  bool unconfirmed = false;
};

}  // namespace router
