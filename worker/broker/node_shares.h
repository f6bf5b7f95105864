// Who has members of which shared group in the cluster, at a gateway: how many this host has is told to the other
// nodes, how many those have together to the workers here, as if they were the gateway's. Only live ones of nodes that
// can be reached count as live.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "worker/broker/core.h"
#include "worker/broker/node_stream.h"
#include "worker/router/shared_group.h"

namespace broker {

struct Peer;

using GroupKey = std::pair<std::string, std::string>;  // filter, name

// What one other node has.
struct NodeMembers {
  struct Count {
    uint32_t live = 0;
    uint32_t offline = 0;
    bool operator==(const Count&) const = default;
  };
  bool reached = false;
  std::map<GroupKey, Count> groups;
  std::set<GroupKey> stale;  // while it tells everything anew: not told again yet
};

class NodeShares {
 public:
  // `announce`: tells all other nodes.
  using Announce = std::function<void(NodeFrame type, std::string_view body)>;
  NodeShares(Core& core, Announce announce) : core_(core), announce_(std::move(announce)) {}

  // --- this host's members; the tree has them ---
  bool on_worker_share(std::string_view body);
  // A worker died, or its replacement has told all.
  void on_workers_changed();
  // Everything, into a stream.
  void tell_all(NodeStream& stream) const;

  // --- other nodes' members; a node has an id here (NodeInterest) ---
  void begin_sync(NodeMembers& node) const;
  void end_sync(uint32_t id, NodeMembers& node);
  bool on_share(uint32_t id, NodeMembers& node, std::string_view body);
  void set_reached(uint32_t id, NodeMembers& node, bool reached);
  void remove(uint32_t id, NodeMembers& node);
  // Everything, to a new worker.
  void sync_to(Peer& worker);

  // --- choosing ---
  // The nodes that have members, as its peers by id; null: none has.
  router::SharedGroup* nodes_of(const GroupKey& key);
  // The workers of this host that have members.
  router::SharedGroup* workers_of(const GroupKey& key) const;

 private:
  using Count = NodeMembers::Count;
  struct Group {
    explicit Group(const GroupKey& key) : nodes(key.first, key.second) {}
    router::SharedGroup nodes;
    Count told;  // to the workers
  };
  Count members_here(const GroupKey& key) const;
  void tell_nodes(const GroupKey& key);
  void set(uint32_t id, const NodeMembers& node, const GroupKey& key, Count count);
  static void share_body(std::string& out, const GroupKey& key, Count count);

  Core& core_;
  const Announce announce_;
  std::map<GroupKey, Count> told_;  // to the nodes
  std::map<GroupKey, Group> groups_;
};

}  // namespace broker
