// What the topic tree is made of: its nodes, and the peers and groups that hang off them. Finds, makes and prunes; what
// stands at a node is TopicTree's business.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "worker/router/level_table.h"
#include "worker/router/level_text.h"
#include "worker/router/node_arena.h"
#include "worker/router/subscriber_list.h"
#include "worker/router/topic_tree.h"

namespace router {

inline constexpr NodeId kRoot = 0;
inline constexpr NodeId kNoChild = 0;  // the root is nobody's child
inline constexpr uint32_t kNoEntry = 0xFFFFFFFF;

struct TopicNode {
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
static_assert(sizeof(TopicNode) == 48);

// A peer's interest in a filter, or a shared group at it. The entries of a node form a list, the peers (kMaxPeers at
// most) in front of the groups; those of a peer form one, too.
struct TopicEntry {
  NodeId node = kNoNode;
  uint32_t next = kNoEntry;  // at the same node
  union {
    uint32_t previous_of_peer = kNoEntry;
    uint32_t group;  // its index in the tree
  };
  // Next of the same peer; of a group the one before it at the same node. (The arena's link of free ones.)
  uint32_t parent = kNoEntry;
  uint8_t peer = 0;
  bool durable = false;
  bool is_group = false;
  bool old = false;  // a dead peer's: goes unless its successor sets it again
};
static_assert(sizeof(TopicEntry) == 20);

struct TopicNodes {
  explicit TopicNodes(uint64_t seed) : hasher(seed) {
    nodes.take();
    first_of_peer.fill(kNoEntry);
  }

  // The child with this text, which is not a wildcard. kNoChild: none.
  NodeId literal_child(NodeId parent, std::string_view level, uint64_t hash) const {
    return table.find(child_key(parent, hash), [&](NodeId id) {
      const TopicNode& node = nodes[id];
      return node.parent == parent && node.level.view() == level;
    });
  }
  // kNoNode: there is no such path.
  NodeId lookup(std::string_view filter) const;
  // Finds or makes. Something must be put at a new node at once.
  NodeId reach(std::string_view filter);
  // Removes the node if nothing is at it or below it, then its parent likewise.
  void prune(NodeId id);

  // The entry of this peer at the node; kNoEntry: none.
  uint32_t find_peer(NodeId id, uint32_t peer) const;
  // REQUIRES: it has none there.
  uint32_t add_peer(NodeId id, uint32_t peer);
  // Prunes.
  void erase_peer(uint32_t entry);
  uint32_t add_group(NodeId id, uint32_t group);
  // Does not prune.
  void erase_group(uint32_t entry);

  LevelHasher hasher;
  LevelTable table;
  NodeArena<TopicNode> nodes;
  NodeArena<TopicEntry> entries;
  std::array<uint32_t, kMaxPeers> first_of_peer;
  size_t heap_bytes = 0;  // of level texts and subscriber lists

 private:
  NodeId child(NodeId parent, std::string_view level) const;
  NodeId make_child(NodeId parent, std::string_view level);
  // Where the node's list has its first group, or its end.
  uint32_t& first_group(NodeId id);
};

}  // namespace router
