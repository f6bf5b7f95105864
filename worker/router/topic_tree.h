// The topic tree: which local subscribers, shared groups and peers want a topic. It collects only; who gets a message
// is the router's decision.
//
// A node is one topic level. All children of all nodes lie in one open-addressing table keyed by (parent, level), so a
// node costs no map of its own and a publish costs one probe per level and branch. '+' and '#' children are named
// fields, not magic strings. '$'-topics are never reached through a wildcard in the first level [MQTT-4.7.2-1].
// Not re-entrant: match() uses scratch space of the tree.
//
// Subscribers are small integers (the session table's index), peers are indices into the peer table. The tree owns the
// SharedGroup objects hanging off its nodes.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/types.h"

namespace router {

class SharedGroup;

using SubscriberId = uint32_t;
using NodeId = uint32_t;
inline constexpr NodeId kNoNode = 0xFFFFFFFF;

struct SubscriptionOptions {
  proto::QoS qos = proto::QoS::at_most_once;
  bool no_local = false;
  bool retain_as_published = false;
  proto::RetainHandling retain_handling = proto::RetainHandling::send;
  uint32_t identifier = 0;  // subscription identifier, 0 = none
  bool operator==(const SubscriptionOptions&) const = default;
};

struct LocalSubscription {
  SubscriberId subscriber = 0;
  SubscriptionOptions options;
};

// A set of peers (worker slots now, hosts later).
inline constexpr uint32_t kMaxPeers = 256;
class PeerSet {
 public:
  void insert(uint32_t peer) { words_[peer / 64] |= uint64_t{1} << (peer % 64); }
  void erase(uint32_t peer) { words_[peer / 64] &= ~(uint64_t{1} << (peer % 64)); }
  bool contains(uint32_t peer) const { return (words_[peer / 64] >> (peer % 64)) & 1; }
  bool empty() const {
    uint64_t any = 0;
    for (const uint64_t word : words_) any |= word;
    return any == 0;
  }
  // The only one; kMaxPeers: there are more, or none.
  uint32_t only() const {
    uint32_t found = kMaxPeers;
    for (uint32_t w = 0; w < words_.size(); ++w) {
      if (words_[w] == 0) continue;
      if (found != kMaxPeers || !std::has_single_bit(words_[w])) return kMaxPeers;
      found = w * 64 + static_cast<uint32_t>(std::countr_zero(words_[w]));
    }
    return found;
  }
  template <typename F>
  void for_each(F&& f) const {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      for (uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) {
        f(w * 64 + static_cast<uint32_t>(std::countr_zero(bits)));
      }
    }
  }
  bool operator==(const PeerSet&) const = default;

 private:
  std::array<uint64_t, kMaxPeers / 64> words_{};
};

// Collected by match(); reuse one object so that its vectors keep their capacity.
struct MatchResult {
  std::vector<LocalSubscription> local;  // one entry per matching subscription: a subscriber may appear several times
  std::vector<SharedGroup*> groups;      // valid until the tree changes
  PeerSet peers;                         // who wants it for ordinary subscriptions
  PeerSet durable_peers;                 // those among them with a durable session behind the filter
  void clear();
  bool empty() const { return local.empty() && groups.empty() && peers.empty(); }
};

class TopicTree {
 public:
  TopicTree();
  ~TopicTree();
  TopicTree(const TopicTree&) = delete;
  TopicTree& operator=(const TopicTree&) = delete;

  // All filters below are valid (proto::is_valid_topic_filter) and without "$share/...".

  // --- local subscribers ---
  // Adds or replaces a subscription. Position in the node's list may change when others leave; see `moved`.
  struct Added {
    NodeId node = kNoNode;
    uint32_t position = 0;     // of this subscription in the node's list
    bool first_local = false;  // the node had no local subscriber before
  };
  // REQUIRES: this subscriber has no subscription at this filter (use update()).
  Added add(std::string_view filter, SubscriberId subscriber, const SubscriptionOptions& options);
  // REQUIRES: (node, position) is current.
  void update(NodeId node, uint32_t position, const SubscriptionOptions& options);
  struct Removed {
    bool last_local = false;  // the node has no local subscriber any more
    // The subscription that took the removed one's place, if any: its owner must note its new position.
    bool moved = false;
    SubscriberId moved_subscriber = 0;
    uint32_t moved_from = 0;  // its old position (its new one is the removed position)
  };
  // The node id is invalid afterwards if nothing is left at it.
  Removed remove(NodeId node, uint32_t position);
  // kNoNode: nothing is at that filter.
  NodeId find(std::string_view filter) const;
  // The filter of a node, rebuilt from its path.
  std::string filter_of(NodeId node) const;

  // --- what peers want ---
  // True: it did not want it before.
  bool set_peer(std::string_view filter, uint32_t peer, bool durable);
  void clear_peer(std::string_view filter, uint32_t peer);
  // Forgets everything of a peer. Cost: its number of filters.
  void remove_peer(uint32_t peer);
  // The peer is dead: forgets what no durable session stands behind; the rest stays for its successor...
  void keep_durable(uint32_t peer);
  // ...which has set everything it wants: forgets what it has not.
  void drop_kept(uint32_t peer);
  // The filters of the dead peer that its successor has not set.
  std::vector<NodeId> kept(uint32_t peer) const;
  // Whether it may want anything: then every topic matches it, as if a durable session stood behind.
  void set_unknown(uint32_t peer, bool unknown);

  // --- shared groups ---
  // Finds or creates the group at this filter. It is owned by the tree and stays until release_group().
  SharedGroup& group(std::string_view filter, std::string_view name);
  SharedGroup* find_group(std::string_view filter, std::string_view name) const;
  // Deletes the group if it has no members left, local or remote; true if deleted.
  bool release_group(SharedGroup& group);
  // Calls f for every group in the tree (full sync for a new peer). f must not change the tree.
  template <typename F>
  void for_each_group(F&& f) const {
    for (const auto& g : all_groups_) f(*g);
  }
  // Calls f(node) for every node with local subscribers (full sync). f must not change the tree.
  template <typename F>
  void for_each_local_filter(F&& f) const {
    for (NodeId n = 0; n < node_count(); ++n) {
      if (has_local(n)) f(n);
    }
  }

  // --- matching ---
  // Appends to `result` (not cleared). Cost: follows the branches that exist for the topic's levels.
  void match(std::string_view topic, MatchResult& result) const;

  // Grows with every change that can change a match: for caches.
  uint64_t generation() const { return generation_; }
  // For leak tests: live nodes without the root.
  size_t size() const;
  size_t memory() const;  // bytes, approximately

 private:
  uint32_t node_count() const;
  bool has_local(NodeId node) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::vector<std::unique_ptr<SharedGroup>> all_groups_;  // each knows its index
  PeerSet unknown_;
  uint64_t generation_ = 0;
};

}  // namespace router
