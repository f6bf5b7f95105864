// What the hosts of a cluster want of each other, at a gateway: what this host's workers want is told to the other
// nodes, once a filter; what they want is in the tree as the gateway's own subscriptions, and so announced to the
// workers here. Each node is a subscriber of the tree.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "worker/broker/core.h"
#include "worker/broker/node_stream.h"

namespace broker {

// What one other node wants.
struct NodeInterest {
  router::SubscriberId id = 0;
  std::unordered_map<router::NodeId, uint32_t> routes;  // its subscriptions' places in the tree
  std::unordered_set<router::NodeId> stale;             // while it tells everything anew: not told again yet
};

class NodeRoutes {
 public:
  explicit NodeRoutes(Core& core) : core_(core) {}

  // --- what this host wants ---
  // A worker's route; the tree has it already. True: the other nodes are to be told with route_body().
  bool on_worker_route(uint32_t slot, bool add, bool durable, std::string_view filter);
  // What only clients of a dead worker wanted, as filters to be withdrawn.
  std::vector<std::string> on_worker_left(uint32_t slot);
  // And what its replacement does not want any more.
  std::vector<std::string> on_worker_synced(uint32_t slot);
  // Everything, into a stream.
  void tell_all(NodeStream& stream) const;
  static void route_body(std::string& out, bool wanted, std::string_view filter);

  // --- what other nodes want ---
  void add(NodeInterest& node);
  void remove(NodeInterest& node);
  void begin_sync(NodeInterest& node);
  void end_sync(NodeInterest& node);
  bool on_route(NodeInterest& node, std::string_view body);

  size_t wanted() const { return wants_.size(); }

 private:
  struct Want {
    router::PeerSet workers;
    router::PeerSet durable;
    router::PeerSet kept;  // of workers: dead, or their replacement has not told yet
  };
  using Wants = std::unordered_map<std::string, Want>;
  std::vector<std::string> drop(uint32_t slot, bool (*gone)(const Want&, uint32_t), bool keep);
  void remove_at(NodeInterest& node, router::NodeId at);

  Core& core_;
  Wants wants_;
  std::vector<NodeInterest*> nodes_;  // by id
};

}  // namespace broker
