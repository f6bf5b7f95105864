// What the hosts of a cluster share, as a value: the state that a Redis server and the scripts of shared/redis keep,
// with the semantics of shared/cluster/hub.h, one atomic call after another, by a clock of its own. No connection, no
// delay: that is ModelHub's. The same calls in the same order give the same state.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/clock.h"
#include "shared/cluster/hub.h"

namespace sim {

class RedisModel {
 public:
  // Who calls: a node's key and the incarnation of the gateway that speaks for it.
  struct Caller {
    std::string key;
    uint64_t gateway = 0;
  };
  template <typename T>
  using Result = std::pair<cluster::Status, T>;
  using Status = cluster::Status;

  // Who is connected and hears datagrams.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_publish(const std::string& to, const std::string& from, std::string_view frames) = 0;
  };

  explicit RedisModel(const base::Clock& clock) : clock_(clock) { state_.cluster_id = 1; }
  void attach(Listener& listener) { listeners_.push_back(&listener); }
  void detach(Listener& listener) { std::erase(listeners_, &listener); }
  uint64_t now_ms() const { return clock_.now_ms(); }

  // --- what goes wrong with the server ---
  void down() { up_ = false; }
  void up() { up_ = true; }
  bool is_up() const { return up_; }
  // Writes are refused (out of memory) until it is said otherwise.
  void set_full(bool full) { full_ = full; }
  bool full() const { return full_; }
  // What restart_older() goes back to.
  void take_snapshot() { snapshot_ = state_; }
  bool has_snapshot() const { return snapshot_.has_value(); }
  // Both change the cluster's id, as the scripts do when they find another server's run than they knew.
  void restart_empty();
  void restart_older();
  // Grows with every restart: connections of an earlier run are broken.
  uint64_t run() const { return run_; }

  // --- the calls of cluster::Hub ---
  Result<cluster::Membership> join(const std::string& name, uint64_t gateway, uint64_t lease_ms);
  Result<cluster::Membership> renew(const Caller& caller, uint64_t lease_ms);
  Status leave(const Caller& caller);
  Status send(const Caller& caller, const std::string& to, uint64_t number, std::string frames);
  std::vector<cluster::Entry> read(const std::string& inbox, uint64_t after, size_t max_bytes) const;
  void datagram(const Caller& caller, const std::string& to, std::string_view frames);
  Status trim(const Caller& caller, uint64_t id);
  Result<cluster::Claimed> claim(const Caller& caller, std::string_view client, uint64_t at_least);
  Result<cluster::Held> hold(const Caller& caller, std::string_view client, uint64_t epoch);
  Status withdraw(const Caller& caller, std::string_view client, uint64_t epoch);
  Status release(const Caller& caller, std::string_view client, uint64_t epoch);
  std::string holder(std::string_view client) const;
  cluster::Claimed before(std::string_view client, uint64_t epoch) const;
  static constexpr uint32_t kDirectoryParts = 4;
  Result<std::vector<cluster::Hub::Mine>> mine(const Caller& caller, uint32_t part) const;
  Result<uint64_t> retain(const Caller& caller, std::string_view topic, std::string_view value, uint64_t at_least);
  Result<uint64_t> retain_again(const Caller& caller, const cluster::Retained& item);
  cluster::Changes changes(uint64_t after) const;
  cluster::Changes snapshot(uint64_t cursor, size_t max_items) const;
  Status begin_copy(const Caller& caller, uint32_t slot, uint64_t round);
  Status copy(const Caller& caller, uint32_t slot, uint64_t round, const store::Batch& batch);
  Status finish_copy(const Caller& caller, uint32_t slot, uint64_t round);
  Status keep_copies(const Caller& caller, uint32_t slots);
  cluster::Hub::Records read_copy(const std::string& node, uint64_t cursor, size_t max_items) const;
  Result<std::string> adopt(const Caller& caller, const std::string& node, uint64_t lease_ms, uint64_t within_ms);
  Status bury(const Caller& caller);

  // Something that on_nodes_changed() tells of happened: grows.
  uint64_t nodes_version() const { return nodes_version_; }

  // --- looking ---
  struct Node {
    uint64_t gateway = 0;
    uint64_t lease_until = 0;  // of the clock's milliseconds
    std::string adopter;
    std::deque<cluster::Entry> inbox;
    uint64_t last_entry = 0;
    std::map<std::string, std::pair<uint64_t, uint64_t>> sent;  // by sender: its gateway, the last number
    struct Copy {
      uint64_t round = 0;  // that is whole; 0: none
      uint64_t under_way = 0;
      std::map<std::string, std::string> records;
      std::map<std::string, std::string> next;  // of the one under way
    };
    std::map<uint32_t, Copy> copies;  // by slot
  };
  struct Entry {                                           // of the directory
    uint64_t epoch = 0;                                    // the newest there was
    std::vector<std::pair<uint64_t, std::string>> claims;  // with their epochs, oldest first
    std::string holder;
    uint64_t held = 0;  // its epoch
  };
  const std::map<std::string, Node>& nodes() const { return state_.nodes; }
  const std::map<std::string, Entry, std::less<>>& directory() const { return state_.directory; }
  size_t retained_count() const;  // without deletions
  size_t tombstones() const { return state_.retained.size() - retained_count(); }
  uint64_t cluster_id() const { return state_.cluster_id; }
  bool lease_over(const Node& node) const { return node.lease_until <= clock_.now_ms(); }

  // Whether that node may be adopted at all. A world knows who is dead for good, and has others come back.
  std::function<bool(const std::string& node)> may_adopt;

  // --- bounds; a scenario makes them small ---
  size_t max_changes = 64;            // that changes() can go back
  uint64_t tombstone_ms = 3'600'000;  // that a deletion is kept

 private:
  struct Kept {  // a retained message
    cluster::Retained item;
    uint64_t ordinal = 0;  // its place in a snapshot, for good
    uint64_t since_ms = 0;
  };
  struct State {
    uint64_t cluster_id = 0;
    uint64_t seen_ms = 0;  // when somebody joined or renewed last
    uint64_t calm_since_ms = 0;
    bool seen = false;
    std::map<std::string, Node> nodes;
    std::map<std::string, std::string> names;  // name -> key
    uint64_t last_life = 0;
    std::set<std::string> buried;
    std::map<std::string, Entry, std::less<>> directory;
    uint64_t last_epoch = 0;  // of all entries there have been
    std::map<std::string, Kept, std::less<>> retained;
    std::map<uint64_t, std::string> ordinals;  // of retained
    uint64_t last_ordinal = 0;
    uint64_t last_version = 0;
    std::deque<std::pair<uint64_t, cluster::Retained>> changes;
    uint64_t last_change = 0;
    uint64_t dropped_change = 0;  // the newest that is not there any more
  };

  Status check(const Caller& caller, bool writes = true) const;
  cluster::Membership membership(const std::string& key, bool fresh, uint64_t lease_ms);
  std::string name_of(const std::string& key) const;
  void forget_name(const std::string& key);
  // Of the server, which nobody sets.
  uint64_t clock_us() const { return kEpochUs + clock_.now_ms() * 1000; }
  uint64_t next_id(uint64_t last) const;
  void forget_if_empty(std::string_view client);
  // A node that has been buried is nobody.
  void forget_buried(Entry& entry) const;
  void keep(const cluster::Retained& item);
  void sweep_tombstones();
  void restarted();

  static constexpr uint64_t kEpochUs = 1'700'000'000'000'000;
  const base::Clock& clock_;
  bool up_ = true;
  bool full_ = false;
  uint64_t run_ = 1;
  uint64_t last_cluster_id_ = 1;
  uint64_t nodes_version_ = 0;
  std::vector<Listener*> listeners_;
  State state_;
  std::optional<State> snapshot_;
};

}  // namespace sim
