#include "worker/router/topic_tree.h"

#include <algorithm>

#include "proto/topic.h"
#include "shared/base/check.h"
#include "shared/base/random.h"
#include "worker/router/level_table.h"
#include "worker/router/level_text.h"
#include "worker/router/node_arena.h"
#include "worker/router/shared_group.h"
#include "worker/router/subscriber_list.h"

namespace router {
namespace {

constexpr NodeId kRoot = 0;
constexpr NodeId kNoChild = 0;  // the root is nobody's child
constexpr uint32_t kNoEntry = 0xFFFFFFFF;

struct Node {
  NodeId parent = kNoNode;
  LevelText level;
  NodeId plus = kNoChild;
  NodeId hash = kNoChild;
  uint32_t literals = 0;       // other children: in the table
  uint32_t others = kNoEntry;  // what else hangs here: peers and groups
  SubscriberList local;

  bool leaf() const { return literals == 0 && plus == kNoChild && hash == kNoChild; }
  bool bare() const { return local.empty() && others == kNoEntry; }
};
static_assert(sizeof(Node) == 48);

// A peer's interest in a filter, or a shared group at it. The entries of a node form a list, and those of a peer.
struct Entry {
  NodeId node = kNoNode;
  uint32_t next = kNoEntry;  // at the same node
  union {
    uint32_t previous_of_peer = kNoEntry;
    uint32_t group;  // index in all_groups_
  };
  uint32_t parent = kNoEntry;  // next of the same peer (and the arena's link of free ones)
  uint8_t peer = 0;
  bool durable = false;
  bool is_group = false;
};
static_assert(sizeof(Entry) == 20);

}  // namespace

void MatchResult::clear() {
  local.clear();
  groups.clear();
  peers = {};
  durable_peers = {};
}

struct TopicTree::Impl {
  struct Level {
    std::string_view text;
    uint64_t hash;
  };
  struct Branch {
    NodeId node;
    uint32_t depth;
  };

  Impl() : hasher(base::entropy()) {
    nodes.take();
    first_of_peer.fill(kNoEntry);
  }

  // --- nodes ---
  NodeId literal_child(NodeId parent, std::string_view level, uint64_t hash) const {
    return table.find(child_key(parent, hash), [&](NodeId id) {
      const Node& node = nodes[id];
      return node.parent == parent && node.level.view() == level;
    });
  }
  NodeId child(NodeId parent, std::string_view level) const {
    if (level == "+") return nodes[parent].plus;
    if (level == "#") return nodes[parent].hash;
    return nodes[parent].literals == 0 ? kNoChild : literal_child(parent, level, hasher(level));
  }
  NodeId lookup(std::string_view filter) const;
  NodeId reach(std::string_view filter);
  NodeId make_child(NodeId parent, std::string_view level);
  void prune(NodeId id);

  // --- entries ---
  uint32_t find_peer(NodeId id, uint32_t peer) const;
  void link(uint32_t entry, NodeId id);
  void unlink(uint32_t entry);
  void erase_peer(uint32_t entry);

  // --- matching ---
  bool read_level(proto::LevelReader& reader);
  void collect(NodeId id, const std::vector<std::unique_ptr<SharedGroup>>& groups, MatchResult& result) const;

  LevelHasher hasher;
  LevelTable table;
  NodeArena<Node> nodes;
  NodeArena<Entry> entries;
  std::array<uint32_t, kMaxPeers> first_of_peer;
  size_t heap_bytes = 0;  // of level texts and subscriber lists

  // Scratch of match(), kept so that it allocates nothing.
  std::vector<Level> levels;
  std::vector<Branch> branches;
};

// --- nodes ---

NodeId TopicTree::Impl::lookup(std::string_view filter) const {
  proto::LevelReader reader(filter);
  NodeId id = kRoot;
  for (std::string_view level; reader.next(level);) {
    id = child(id, level);
    if (id == kNoChild) return kNoNode;
  }
  return id;
}

NodeId TopicTree::Impl::reach(std::string_view filter) {
  proto::LevelReader reader(filter);
  NodeId id = kRoot;
  for (std::string_view level; reader.next(level);) {
    const NodeId existing = child(id, level);
    id = existing != kNoChild ? existing : make_child(id, level);
  }
  return id;
}

NodeId TopicTree::Impl::make_child(NodeId parent, std::string_view level) {
  const NodeId id = nodes.take();
  Node& node = nodes[id];
  node.parent = parent;
  node.level.set(level);
  heap_bytes += node.level.heap_bytes();
  if (level == "+") {
    nodes[parent].plus = id;
  } else if (level == "#") {
    nodes[parent].hash = id;
  } else {
    table.insert(child_key(parent, hasher(level)), id);
    ++nodes[parent].literals;
  }
  return id;
}

// Removes the node if nothing is at it or below it, then its parent likewise.
void TopicTree::Impl::prune(NodeId id) {
  while (id != kRoot && nodes[id].leaf() && nodes[id].bare()) {
    Node& node = nodes[id];
    const NodeId above = node.parent;
    Node& parent = nodes[above];
    if (parent.plus == id) {
      parent.plus = kNoChild;
    } else if (parent.hash == id) {
      parent.hash = kNoChild;
    } else {
      table.erase(child_key(above, hasher(node.level.view())), id);
      --parent.literals;
    }
    heap_bytes -= node.level.heap_bytes();
    node.level.clear();
    nodes.give(id);
    id = above;
  }
}

// --- entries ---

uint32_t TopicTree::Impl::find_peer(NodeId id, uint32_t peer) const {
  uint32_t e = nodes[id].others;
  while (e != kNoEntry && (entries[e].is_group || entries[e].peer != peer)) e = entries[e].next;
  return e;
}

void TopicTree::Impl::link(uint32_t entry, NodeId id) {
  entries[entry].node = id;
  entries[entry].next = nodes[id].others;
  nodes[id].others = entry;
}

void TopicTree::Impl::unlink(uint32_t entry) {
  uint32_t* link = &nodes[entries[entry].node].others;
  while (*link != entry) link = &entries[*link].next;
  *link = entries[entry].next;
}

void TopicTree::Impl::erase_peer(uint32_t entry) {
  unlink(entry);
  const Entry gone = entries[entry];
  const uint32_t previous = gone.previous_of_peer;
  (previous == kNoEntry ? first_of_peer[gone.peer] : entries[previous].parent) = gone.parent;
  if (gone.parent != kNoEntry) entries[gone.parent].previous_of_peer = previous;
  entries[entry] = Entry{};
  entries.give(entry);
  prune(gone.node);
}

// --- the tree: local subscribers ---

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

// --- the tree: peers ---

void TopicTree::set_peer(std::string_view filter, uint32_t peer, bool durable) {
  CHECK(peer < kMaxPeers);
  const NodeId id = impl_->reach(filter);
  uint32_t e = impl_->find_peer(id, peer);
  if (e != kNoEntry && impl_->entries[e].durable == durable) return;
  if (e == kNoEntry) {
    e = impl_->entries.take();
    Entry& entry = impl_->entries[e];
    entry.peer = static_cast<uint8_t>(peer);
    uint32_t& first = impl_->first_of_peer[peer];
    if (first != kNoEntry) impl_->entries[first].previous_of_peer = e;
    entry.parent = first;
    first = e;
    impl_->link(e, id);
  }
  impl_->entries[e].durable = durable;
  ++generation_;
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

// --- the tree: shared groups ---

SharedGroup& TopicTree::group(std::string_view filter, std::string_view name) {
  if (SharedGroup* existing = find_group(filter, name)) return *existing;
  const NodeId id = impl_->reach(filter);
  const uint32_t e = impl_->entries.take();
  impl_->entries[e].is_group = true;
  impl_->entries[e].group = static_cast<uint32_t>(all_groups_.size());
  impl_->link(e, id);
  SharedGroup& made = *all_groups_.emplace_back(std::make_unique<SharedGroup>(filter, name));
  made.node = id;
  ++generation_;
  return made;
}

SharedGroup* TopicTree::find_group(std::string_view filter, std::string_view name) const {
  const NodeId id = impl_->lookup(filter);
  if (id == kNoNode) return nullptr;
  for (uint32_t e = impl_->nodes[id].others; e != kNoEntry; e = impl_->entries[e].next) {
    const Entry& entry = impl_->entries[e];
    if (entry.is_group && all_groups_[entry.group]->name() == name) return all_groups_[entry.group].get();
  }
  return nullptr;
}

bool TopicTree::release_group(SharedGroup& group) {
  if (!group.empty()) return false;
  auto entry_of = [this](const SharedGroup& g) {
    uint32_t e = impl_->nodes[g.node].others;
    while (!impl_->entries[e].is_group || all_groups_[impl_->entries[e].group].get() != &g) e = impl_->entries[e].next;
    return e;
  };
  const uint32_t e = entry_of(group);
  const Entry gone = impl_->entries[e];
  impl_->entries[entry_of(*all_groups_.back())].group = gone.group;
  impl_->unlink(e);
  impl_->entries[e] = Entry{};
  impl_->entries.give(e);
  std::swap(all_groups_[gone.group], all_groups_.back());
  all_groups_.pop_back();
  impl_->prune(gone.node);
  ++generation_;
  return true;
}

// --- the tree: matching ---

bool TopicTree::Impl::read_level(proto::LevelReader& reader) {
  std::string_view level;
  if (!reader.next(level)) return false;
  levels.push_back({level, hasher(level)});
  return true;
}

void TopicTree::Impl::collect(NodeId id, const std::vector<std::unique_ptr<SharedGroup>>& groups,
                              MatchResult& result) const {
  const Node& node = nodes[id];
  if (node.local.size() == 1) {
    result.local.push_back(*node.local.begin());
  } else if (!node.local.empty()) {
    result.local.insert(result.local.end(), node.local.begin(), node.local.end());
  }
  for (uint32_t e = node.others; e != kNoEntry;) {
    const Entry& entry = entries[e];
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
  while (!t.branches.empty()) {
    auto [id, depth] = t.branches.back();
    t.branches.pop_back();
    for (;;) {
      const Node& node = t.nodes[id];
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

// --- the tree: size ---

size_t TopicTree::size() const {
  return impl_->nodes.live() - 1;
}

size_t TopicTree::memory() const {
  return sizeof(Impl) + impl_->nodes.memory() + impl_->entries.memory() + impl_->table.memory() + impl_->heap_bytes +
         all_groups_.capacity() * sizeof(SharedGroup*) + all_groups_.size() * sizeof(SharedGroup);
}

uint32_t TopicTree::node_count() const {
  return impl_->nodes.end();
}
bool TopicTree::has_local(NodeId node) const {
  return !impl_->nodes[node].local.empty();
}

}  // namespace router
