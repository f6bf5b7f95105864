#include "worker/router/topic_tree.h"

#include "proto/topic.h"
#include "shared/base/check.h"
#include "shared/base/random.h"
#include "worker/router/shared_group.h"
#include "worker/router/topic_nodes.h"

namespace router {

void MatchResult::clear() {
  local.clear();
  groups.clear();
  peers = {};
  durable_peers = {};
}

struct TopicTree::Impl : TopicNodes {
  struct Level {
    std::string_view text;
    uint64_t hash;
  };
  struct Branch {
    NodeId node;
    uint32_t depth;
  };

  Impl() : TopicNodes(base::entropy()) {}
  uint32_t group_key(NodeId node, std::string_view name) const { return child_key(node, hasher(name)); }
  bool read_level(proto::LevelReader& reader);
  void collect(NodeId id, const std::vector<std::unique_ptr<SharedGroup>>& groups, MatchResult& result) const;

  LevelTable group_table;  // (node, name) to the group's index + 1

  // Scratch of match(), kept so that it allocates nothing.
  std::vector<Level> levels;
  std::vector<Branch> branches;
};

// --- local subscribers ---

TopicTree::TopicTree() : impl_(std::make_unique<Impl>()) {}
TopicTree::~TopicTree() = default;

TopicTree::Added TopicTree::add(std::string_view filter, SubscriberId subscriber, const SubscriptionOptions& options) {
  const NodeId id = impl_->reach(filter);
  SubscriberList& local = impl_->nodes[id].local;
  impl_->heap_bytes -= local.heap_bytes();
  local.push_back({subscriber, options});
  impl_->heap_bytes += local.heap_bytes();
  ++generation_;
  return {.node = id, .position = local.size() - 1, .first_local = local.size() == 1};
}

void TopicTree::update(NodeId node, uint32_t position, const SubscriptionOptions& options) {
  CHECK(position < impl_->nodes[node].local.size());
  impl_->nodes[node].local[position].options = options;
  ++generation_;
}

TopicTree::Removed TopicTree::remove(NodeId node, uint32_t position) {
  SubscriberList& local = impl_->nodes[node].local;
  const uint32_t last = local.size() - 1;
  CHECK(position <= last);
  Removed removed{.last_local = last == 0};
  if (position != last) {
    removed.moved = true;
    removed.moved_subscriber = local[last].subscriber;
    removed.moved_from = last;
  }
  impl_->heap_bytes -= local.heap_bytes();
  local.remove(position);
  impl_->heap_bytes += local.heap_bytes();
  impl_->prune(node);
  ++generation_;
  return removed;
}

NodeId TopicTree::find(std::string_view filter) const {
  const NodeId id = impl_->lookup(filter);
  return id == kNoNode || impl_->nodes[id].bare() ? kNoNode : id;
}

std::string TopicTree::filter_of(NodeId node) const {
  std::vector<std::string_view> levels;
  for (NodeId id = node; id != kRoot; id = impl_->nodes[id].parent) levels.push_back(impl_->nodes[id].level.view());
  std::string filter;
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    if (level != levels.rbegin()) filter += '/';
    filter += *level;
  }
  return filter;
}

// --- peers ---

bool TopicTree::set_peer(std::string_view filter, uint32_t peer, bool durable) {
  CHECK(peer < kMaxPeers);
  const NodeId id = impl_->reach(filter);
  uint32_t e = impl_->find_peer(id, peer);
  if (e != kNoEntry) impl_->entries[e].old = false;
  if (e != kNoEntry && impl_->entries[e].durable == durable) return false;
  const bool fresh = e == kNoEntry;
  if (fresh) e = impl_->add_peer(id, peer);
  impl_->entries[e].durable = durable;
  ++generation_;
  return fresh;
}

void TopicTree::clear_peer(std::string_view filter, uint32_t peer) {
  const NodeId id = impl_->lookup(filter);
  if (id == kNoNode) return;
  const uint32_t e = impl_->find_peer(id, peer);
  if (e == kNoEntry) return;
  impl_->erase_peer(e);
  ++generation_;
}

void TopicTree::remove_peer(uint32_t peer) {
  CHECK(peer < kMaxPeers);
  while (impl_->first_of_peer[peer] != kNoEntry) {
    impl_->erase_peer(impl_->first_of_peer[peer]);
    ++generation_;
  }
}

void TopicTree::keep_durable(uint32_t peer) {
  CHECK(peer < kMaxPeers);
  for (uint32_t e = impl_->first_of_peer[peer]; e != kNoEntry;) {
    const uint32_t next = impl_->entries[e].parent;
    impl_->entries[e].old = true;
    if (!impl_->entries[e].durable) impl_->erase_peer(e);
    e = next;
  }
  ++generation_;
}

void TopicTree::drop_kept(uint32_t peer) {
  CHECK(peer < kMaxPeers);
  for (uint32_t e = impl_->first_of_peer[peer]; e != kNoEntry;) {
    const uint32_t next = impl_->entries[e].parent;
    if (impl_->entries[e].old) impl_->erase_peer(e);
    e = next;
  }
  ++generation_;
}

std::vector<NodeId> TopicTree::kept(uint32_t peer) const {
  CHECK(peer < kMaxPeers);
  std::vector<NodeId> nodes;
  for (uint32_t e = impl_->first_of_peer[peer]; e != kNoEntry; e = impl_->entries[e].parent) {
    if (impl_->entries[e].old) nodes.push_back(impl_->entries[e].node);
  }
  return nodes;
}

void TopicTree::set_unknown(uint32_t peer, bool unknown) {
  CHECK(peer < kMaxPeers);
  if (unknown_.contains(peer) == unknown) return;
  if (unknown) {
    unknown_.insert(peer);
  } else {
    unknown_.erase(peer);
  }
  ++generation_;
}

// --- shared groups ---

SharedGroup& TopicTree::group(std::string_view filter, std::string_view name) {
  if (SharedGroup* existing = find_group(filter, name)) return *existing;
  const NodeId id = impl_->reach(filter);
  SharedGroup& made = *all_groups_.emplace_back(std::make_unique<SharedGroup>(filter, name));
  made.anchor = {.node = id, .index = static_cast<uint32_t>(all_groups_.size() - 1)};
  made.anchor.entry = impl_->add_group(id, made.anchor.index);
  impl_->group_table.insert(impl_->group_key(id, name), made.anchor.index + 1);
  ++generation_;
  return made;
}

SharedGroup* TopicTree::find_group(std::string_view filter, std::string_view name) const {
  const NodeId id = impl_->lookup(filter);
  if (id == kNoNode) return nullptr;
  const uint32_t found = impl_->group_table.find(impl_->group_key(id, name), [&](uint32_t number) {
    const SharedGroup& group = *all_groups_[number - 1];
    return group.anchor.node == id && group.name() == name;
  });
  return found == 0 ? nullptr : all_groups_[found - 1].get();
}

bool TopicTree::release_group(SharedGroup& group) {
  if (!group.empty()) return false;
  const SharedGroup::Anchor gone = group.anchor;
  impl_->group_table.erase(impl_->group_key(gone.node, group.name()), gone.index + 1);
  impl_->erase_group(gone.entry);
  SharedGroup& last = *all_groups_.back();
  if (&last != &group) {  // it takes the place
    const uint32_t key = impl_->group_key(last.anchor.node, last.name());
    impl_->group_table.erase(key, last.anchor.index + 1);
    impl_->group_table.insert(key, gone.index + 1);
    impl_->entries[last.anchor.entry].group = gone.index;
    last.anchor.index = gone.index;
    std::swap(all_groups_[gone.index], all_groups_.back());
  }
  all_groups_.pop_back();
  impl_->prune(gone.node);
  ++generation_;
  return true;
}

// --- matching ---

bool TopicTree::Impl::read_level(proto::LevelReader& reader) {
  std::string_view level;
  if (!reader.next(level)) return false;
  levels.push_back({level, hasher(level)});
  return true;
}

void TopicTree::Impl::collect(NodeId id, const std::vector<std::unique_ptr<SharedGroup>>& groups,
                              MatchResult& result) const {
  const TopicNode& node = nodes[id];
  if (node.local.size() == 1) {
    result.local.push_back(*node.local.begin());
  } else if (!node.local.empty()) {
    result.local.insert(result.local.end(), node.local.begin(), node.local.end());
  }
  for (uint32_t e = node.others; e != kNoEntry;) {
    const TopicEntry& entry = entries[e];
    e = entry.next;
    if (entry.is_group) {
      result.groups.push_back(groups[entry.group].get());
      continue;
    }
    result.peers.insert(entry.peer);
    if (entry.durable) result.durable_peers.insert(entry.peer);
  }
}

// Follows the topic's own levels downwards and notes the '+' branches to come back to. A node is visited at most once:
// one path leads to it. Levels are cut and hashed when first reached.
void TopicTree::match(std::string_view topic, MatchResult& result) const {
  Impl& t = *impl_;
  const bool dollar = topic.starts_with('$');
  proto::LevelReader reader(topic);
  t.levels.clear();
  t.branches.clear();
  t.branches.push_back({kRoot, 0});
  unknown_.for_each([&](uint32_t peer) {
    result.peers.insert(peer);
    result.durable_peers.insert(peer);
  });
  while (!t.branches.empty()) {
    auto [id, depth] = t.branches.back();
    t.branches.pop_back();
    for (;;) {
      const TopicNode& node = t.nodes[id];
      const bool wildcards = depth > 0 || !dollar;
      if (node.hash != kNoChild && wildcards) t.collect(node.hash, all_groups_, result);
      if (depth == t.levels.size() && !t.read_level(reader)) {
        t.collect(id, all_groups_, result);
        break;
      }
      if (node.plus != kNoChild && wildcards) t.branches.push_back({node.plus, depth + 1});
      if (node.literals == 0) break;
      const auto& [level, hash] = t.levels[depth];
      id = t.literal_child(id, level, hash);
      if (id == kNoChild) break;
      ++depth;
    }
  }
}

// --- size ---

size_t TopicTree::size() const {
  return impl_->nodes.live() - 1;
}

size_t TopicTree::memory() const {
  return sizeof(Impl) + impl_->nodes.memory() + impl_->entries.memory() + impl_->table.memory() +
         impl_->group_table.memory() + impl_->heap_bytes + all_groups_.capacity() * sizeof(SharedGroup*) +
         all_groups_.size() * sizeof(SharedGroup);
}

uint32_t TopicTree::node_count() const {
  return impl_->nodes.end();
}
bool TopicTree::has_local(NodeId node) const {
  return !impl_->nodes[node].local.empty();
}

}  // namespace router
