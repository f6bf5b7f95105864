#include "shared/base/home.h"

namespace base {

// FNV-1a, finished so that low bits are good.
uint32_t home_of(std::string_view key, uint32_t slots) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : key) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ULL;
  hash ^= hash >> 32;
  hash *= 0x9E3779B97F4A7C15ULL;
  return static_cast<uint32_t>((hash >> 32) % slots);
}

}  // namespace base
