#include "worker/router/retained_tree.h"

#include "proto/topic.h"
#include "shared/base/random.h"

namespace router {
namespace {
constexpr uint32_t kRoot = 0;
}

// --- nodes ---

RetainedTree::RetainedTree() : hasher_(base::entropy()) {
  nodes_.take();
}

RetainedTree::~RetainedTree() {
  while (walks_ != nullptr) {
    walks_->done_ = true;
    detach(*walks_);
  }
}

uint32_t RetainedTree::child(uint32_t parent, std::string_view level, uint64_t hash) const {
  const uint32_t id = table_.find(child_key(parent, hash), [&](uint32_t candidate) {
    return nodes_[candidate].parent == parent && nodes_[candidate].level.view() == level;
  });
  return id == 0 ? kNone : id;
}

uint32_t RetainedTree::find(std::string_view topic) const {
  proto::LevelReader reader(topic);
  uint32_t id = kRoot;
  for (std::string_view level; id != kNone && reader.next(level);) id = child(id, level, hasher_(level));
  return id;
}

uint32_t RetainedTree::reach(std::string_view topic) {
  proto::LevelReader reader(topic);
  uint32_t id = kRoot;
  for (std::string_view level; reader.next(level);) {
    const uint32_t existing = child(id, level, hasher_(level));
    id = existing != kNone ? existing : make_child(id, level);
  }
  return id;
}

uint32_t RetainedTree::make_child(uint32_t parent, std::string_view level) {
  const uint32_t id = nodes_.take();
  Node& node = nodes_[id];
  Node& above = nodes_[parent];
  node.parent = parent;
  node.level.set(level);
  node.previous = above.last_child;
  (above.last_child == kNone ? above.first_child : nodes_[above.last_child].next) = id;
  above.last_child = id;
  table_.insert(child_key(parent, hasher_(level)), id);
  return id;
}

void RetainedTree::unlink(uint32_t id) {
  const Node& node = nodes_[id];
  Node& above = nodes_[node.parent];
  (node.previous == kNone ? above.first_child : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? above.last_child : nodes_[node.next].previous) = node.previous;
  table_.erase(child_key(node.parent, hasher_(node.level.view())), id);
}

void RetainedTree::prune(uint32_t id) {
  while (id != kRoot && !nodes_[id].message && nodes_[id].first_child == kNone) {
    if (nodes_[id].walks > 0) move_walks_from(id);
    unlink(id);
    Node& node = nodes_[id];
    const uint32_t above = node.parent;
    node.level.clear();
    node.previous = kNone;
    node.next = kNone;
    nodes_.give(id);
    id = above;
  }
}

// --- walks ---

RetainedWalk::RetainedWalk(std::string_view filter, bool dollar_too) : filter_(filter), dollar_too_(dollar_too) {
  proto::LevelReader reader(filter_);
  for (std::string_view level; reader.next(level);) {
    multi_ = level == "#";
    if (!multi_) levels_.push_back({level});
  }
}

RetainedWalk::~RetainedWalk() {
  if (tree_ != nullptr) tree_->detach(*this);
}

// Between slices the node a walk stands on knows it.
void RetainedTree::attach(RetainedWalk& walk) {
  if (walk.done_) return;
  if (walk.tree_ != nullptr) {
    --nodes_[walk.at_].walks;
    return;
  }
  walk.tree_ = this;
  walk.next_ = walks_;
  if (walks_ != nullptr) walks_->previous_ = &walk;
  walks_ = &walk;
  for (RetainedWalk::Level& level : walk.levels_) level.hash = hasher_(level.text);
}

void RetainedTree::pause(RetainedWalk& walk) {
  if (walk.tree_ == nullptr) return;
  ++nodes_[walk.at_].walks;
  if (walk.done_) detach(walk);
}

void RetainedTree::detach(RetainedWalk& walk) {
  --nodes_[walk.at_].walks;
  (walk.previous_ == nullptr ? walks_ : walk.previous_->next_) = walk.next_;
  if (walk.next_ != nullptr) walk.next_->previous_ = walk.previous_;
  walk.previous_ = nullptr;
  walk.next_ = nullptr;
  walk.tree_ = nullptr;
}

// A first level that a leading wildcard does not see. [MQTT-4.7.2-1]
bool RetainedTree::hidden(const RetainedWalk& walk) const {
  return walk.depth_ == 1 && !walk.dollar_too_ && walk.many_below(0) && nodes_[walk.at_].level.view().starts_with('$');
}

// A final '#' matches its parent too.
bool RetainedTree::matches(const RetainedWalk& walk) const {
  const bool deep_enough = walk.multi_ ? walk.depth_ >= walk.levels_.size() : walk.depth_ == walk.levels_.size();
  return deep_enough && !hidden(walk);
}

// Leaves the node it stands on for the first of its children that the filter asks for, or for what follows.
void RetainedTree::step(RetainedWalk& walk) const {
  uint32_t below = kNone;
  if (hidden(walk)) {
    below = kNone;
  } else if (walk.many_below(walk.depth_)) {
    below = nodes_[walk.at_].first_child;
  } else if (walk.depth_ < walk.levels_.size()) {
    const RetainedWalk::Level& level = walk.levels_[walk.depth_];
    below = child(walk.at_, level.text, level.hash);
  }
  if (below == kNone) {
    skip(walk);
  } else {
    walk.at_ = below;
    ++walk.depth_;
  }
}

// Leaves the node without looking below it.
void RetainedTree::skip(RetainedWalk& walk) const {
  for (; walk.depth_ > 0; --walk.depth_) {
    const Node& node = nodes_[walk.at_];
    if (walk.many_below(walk.depth_ - 1) && node.next != kNone) {
      walk.at_ = node.next;
      return;
    }
    walk.at_ = node.parent;
  }
  walk.done_ = true;
}

void RetainedTree::move_walks_from(uint32_t id) {
  for (RetainedWalk* walk = walks_; walk != nullptr;) {
    RetainedWalk& here = *walk;
    walk = walk->next_;
    if (here.at_ != id) continue;
    --nodes_[id].walks;
    skip(here);
    ++nodes_[here.at_].walks;
    if (here.done_) detach(here);
  }
}

}  // namespace router
