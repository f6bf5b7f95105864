// Nodes of a tree in fixed chunks, named by small integers that are used again. Growing never moves a node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace router {

// Node has a `uint32_t parent`, which links the free ones. The first node taken has id 0.
template <typename Node>
class NodeArena {
 public:
  Node& operator[](uint32_t id) { return chunks_[id >> kBits][id & (kChunk - 1)]; }
  const Node& operator[](uint32_t id) const { return chunks_[id >> kBits][id & (kChunk - 1)]; }

  // A node as its default constructor makes it.
  uint32_t take() {
    ++live_;
    if (free_ != kNone) {
      const uint32_t id = free_;
      free_ = (*this)[id].parent;
      (*this)[id].parent = Node{}.parent;
      return id;
    }
    if ((end_ & (kChunk - 1)) == 0) chunks_.push_back(std::make_unique<Node[]>(kChunk));
    return end_++;
  }
  // REQUIRES: the node is again as its default constructor made it, but for `parent`.
  void give(uint32_t id) {
    --live_;
    (*this)[id].parent = free_;
    free_ = id;
  }
  size_t live() const { return live_; }
  // All ids are below.
  uint32_t end() const { return end_; }
  size_t memory() const { return chunks_.size() * kChunk * sizeof(Node); }

 private:
  static constexpr uint32_t kBits = 9;
  static constexpr uint32_t kChunk = 1u << kBits;
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  std::vector<std::unique_ptr<Node[]>> chunks_;
  uint32_t end_ = 0;
  uint32_t free_ = kNone;
  size_t live_ = 0;
};

}  // namespace router
