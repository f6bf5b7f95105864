#include "worker/router/level_table.h"

#include <cstring>
#include <utility>

#include "shared/base/check.h"

namespace router {
namespace {

constexpr uint64_t kMix1 = 0xA0761D6478BD642FULL;
constexpr uint64_t kMix2 = 0xE7037ED1A0B428DBULL;

uint64_t load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
uint32_t load32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Both halves of the 128-bit product, folded: every input bit reaches every output bit.
uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t LevelHasher::operator()(std::string_view level) const {
  const char* p = level.data();
  size_t n = level.size();
  uint64_t h = seed_;
  for (; n > 16; n -= 16, p += 16) h = fold(load64(p) ^ kMix1, load64(p + 8) ^ h);
  uint64_t a = 0;
  uint64_t b = 0;
  if (n >= 8) {
    a = load64(p);
    b = load64(p + n - 8);
  } else if (n >= 4) {
    a = load32(p);
    b = load32(p + n - 4);
  } else if (n > 0) {
    auto byte = [p](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])); };
    a = byte(0) << 16 | byte(n / 2) << 8 | byte(n - 1);
  }
  return fold(fold(a ^ kMix2, b ^ h) ^ kMix1, level.size() ^ seed_ ^ kMix2);
}

void LevelTable::insert(uint32_t key, uint32_t id) {
  if ((size_ + 1) * 4 > slots_.size() * 3) resize(slots_.size() * 2);
  put({key, id});
  ++size_;
}

void LevelTable::erase(uint32_t key, uint32_t id) {
  const size_t mask = slots_.size() - 1;
  size_t hole = key & mask;
  while (slots_[hole].id != id) {
    CHECK(slots_[hole].id != 0);
    hole = (hole + 1) & mask;
  }
  for (size_t i = (hole + 1) & mask; slots_[i].id != 0; i = (i + 1) & mask) {
    const size_t home = slots_[i].key & mask;
    const bool may_move = ((i - home) & mask) >= ((i - hole) & mask);
    if (!may_move) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = {};
  --size_;
  if (slots_.size() > kSmallest && size_ * 8 < slots_.size()) resize(slots_.size() / 2);
}

void LevelTable::resize(size_t slots) {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  for (const Slot& slot : old) {
    if (slot.id != 0) put(slot);
  }
}

void LevelTable::put(Slot slot) {
  const size_t mask = slots_.size() - 1;
  size_t i = slot.key & mask;
  while (slots_[i].id != 0) i = (i + 1) & mask;
  slots_[i] = slot;
}

}  // namespace router
