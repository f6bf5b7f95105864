// Finds a node's child by its level: one open-addressing table for all nodes of a tree, keyed by (parent, level).
//
// A level's text is hashed once per topic (LevelHasher); its key below a certain parent is then a few instructions
// (child_key). A slot holds the key beside the id, so a probe touches a node only when it is (nearly certainly) the
// one, and growing touches no node at all. Linear probing; erasing moves the followers back, so there are no
// tombstones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace router {

// Seeded, so that nobody outside can make up levels that collide.
class LevelHasher {
 public:
  explicit LevelHasher(uint64_t seed) : seed_(seed) {}
  uint64_t operator()(std::string_view level) const;

 private:
  uint64_t seed_;
};

inline uint32_t child_key(uint32_t parent, uint64_t level_hash) {
  uint64_t x = level_hash + parent * 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ULL;
  return static_cast<uint32_t>(x >> 32);
}

class LevelTable {
 public:
  LevelTable() : slots_(kSmallest) {}

  // The id with this key for which `is_it(id)`; 0 (the root, which is nobody's child): none.
  template <typename F>
  uint32_t find(uint32_t key, F&& is_it) const {
    const size_t mask = slots_.size() - 1;
    for (size_t i = key & mask; slots_[i].id != 0; i = (i + 1) & mask) {
      if (slots_[i].key == key && is_it(slots_[i].id)) return slots_[i].id;
    }
    return 0;
  }
  void insert(uint32_t key, uint32_t id);
  // REQUIRES: it was inserted.
  void erase(uint32_t key, uint32_t id);
  size_t size() const { return size_; }
  size_t memory() const { return slots_.capacity() * sizeof(Slot); }

 private:
  static constexpr size_t kSmallest = 16;
  struct Slot {
    uint32_t key = 0;
    uint32_t id = 0;  // 0: free
  };
  void resize(size_t slots);
  void put(Slot slot);

  std::vector<Slot> slots_;  // a power of two, at most three quarters full
  size_t size_ = 0;
};

}  // namespace router
