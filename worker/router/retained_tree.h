// The tree under Retained: nodes that hold messages, and walks over them that stay valid while the tree changes.
//
// A node's children are a list in the order of their creation. A walk is a position in preorder: "the next node to
// visit". The tree knows its walks, and when it removes a node that a walk stands on, it first moves the walk to what
// follows. So a walk needs no stack (it climbs by parent links), survives any change, and misses or repeats nothing
// that was there all the time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shared/bus/message.h"
#include "worker/router/level_table.h"
#include "worker/router/level_text.h"
#include "worker/router/node_arena.h"
#include "worker/router/retained_stamp.h"

namespace router {

class RetainedTree;

// Visits, in slices, the nodes that a topic filter matches. Does not copy or move: the tree points to it.
class RetainedWalk {
 public:
  // With `dollar_too` a leading wildcard includes '$'-topics.
  RetainedWalk(std::string_view filter, bool dollar_too);
  ~RetainedWalk();
  RetainedWalk(const RetainedWalk&) = delete;
  RetainedWalk& operator=(const RetainedWalk&) = delete;
  bool done() const { return done_; }

 private:
  friend class RetainedTree;
  struct Level {
    std::string_view text;
    uint64_t hash = 0;
  };
  bool many_below(size_t depth) const { return depth >= levels_.size() ? multi_ : levels_[depth].text == "+"; }

  std::string filter_;
  std::vector<Level> levels_;  // without a final '#'
  bool multi_ = false;         // ends with '#'
  bool dollar_too_;
  bool done_ = false;
  uint32_t at_ = 0;               // the next node to visit
  size_t depth_ = 0;              // its level: 0 is the root
  RetainedTree* tree_ = nullptr;  // null before the first slice and when done
  RetainedWalk* previous_ = nullptr;
  RetainedWalk* next_ = nullptr;
};

class RetainedTree {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  RetainedTree();
  ~RetainedTree();
  RetainedTree(const RetainedTree&) = delete;
  RetainedTree& operator=(const RetainedTree&) = delete;

  // kNone: there is no such node.
  uint32_t find(std::string_view topic) const;
  // Finds or creates. A new node must be given a message at once.
  uint32_t reach(std::string_view topic);
  bus::MessageRef& message(uint32_t id) { return nodes_[id].message; }
  const bus::MessageRef& message(uint32_t id) const { return nodes_[id].message; }
  // Of the node's message.
  RetainedStamp& stamp(uint32_t id) { return nodes_[id].stamp; }
  const RetainedStamp& stamp(uint32_t id) const { return nodes_[id].stamp; }
  // Removes the node if it holds no message and has no children, then its parent likewise.
  void prune(uint32_t id);
  size_t size() const { return nodes_.live() - 1; }

  // Calls `visit(id)` for matched nodes until it returns false or `max_nodes` have been looked at. `visit` must not
  // change the tree.
  template <typename F>
  void advance(RetainedWalk& walk, size_t max_nodes, F&& visit) {
    attach(walk);
    for (bool more = true; more && !walk.done_ && max_nodes > 0; --max_nodes) {
      const uint32_t id = walk.at_;
      const bool matched = matches(walk);
      step(walk);
      if (matched && nodes_[id].message) more = visit(id);
    }
    pause(walk);
  }

 private:
  friend class RetainedWalk;
  struct Node {
    uint32_t parent = kNone;
    LevelText level;
    uint32_t first_child = kNone;
    uint32_t last_child = kNone;
    uint32_t previous = kNone;  // sibling
    uint32_t next = kNone;
    uint32_t walks = 0;  // standing here between two slices
    bus::MessageRef message;
    RetainedStamp stamp;
  };
  static_assert(sizeof(Node) == 64);

  uint32_t child(uint32_t parent, std::string_view level, uint64_t hash) const;
  uint32_t make_child(uint32_t parent, std::string_view level);
  void unlink(uint32_t id);

  bool hidden(const RetainedWalk& walk) const;
  bool matches(const RetainedWalk& walk) const;
  void attach(RetainedWalk& walk);
  void pause(RetainedWalk& walk);
  void detach(RetainedWalk& walk);
  void step(RetainedWalk& walk) const;
  void skip(RetainedWalk& walk) const;
  void move_walks_from(uint32_t id);

  LevelHasher hasher_;
  LevelTable table_;
  NodeArena<Node> nodes_;
  RetainedWalk* walks_ = nullptr;
};

}  // namespace router
