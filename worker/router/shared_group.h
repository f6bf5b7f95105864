// A shared subscription group at one filter: its local members and what other workers told of theirs. Picks who gets a
// message; pure, no delivery here. [MQTT5 4.8.2], DESIGN section 3.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shared/base/random.h"
#include "worker/router/topic_tree.h"

namespace router {

enum class SharedStrategy : uint8_t { round_robin, random, sticky, hash_client_id, local, least_inflight };

class SharedGroup {
 public:
  struct Member {
    SubscriberId subscriber = 0;
    SubscriptionOptions options;
    bool live = false;  // connected now
  };
  struct Remote {
    uint32_t peer = 0;
    uint32_t live = 0;
    uint32_t offline = 0;   // durable members without a connection
    uint32_t inflight = 0;  // messages this worker assigned to that peer and that were not accepted yet
  };

  // Messages in flight to a local member; asked by least_inflight only.
  using InflightOf = std::function<uint32_t(SubscriberId)>;

  SharedGroup(std::string_view filter, std::string_view name) : filter_(filter), name_(name) {}
  const std::string& filter() const { return filter_; }
  const std::string& name() const { return name_; }

  // --- local members ---
  void set_member(SubscriberId subscriber, const SubscriptionOptions& options, bool live);
  void set_live(SubscriberId subscriber, bool live);
  bool remove_member(SubscriberId subscriber);
  const Member* member(SubscriberId subscriber) const;
  const std::vector<Member>& members() const { return members_; }
  uint32_t live_members() const { return static_cast<uint32_t>(live_.size()); }
  uint32_t offline_members() const { return static_cast<uint32_t>(members_.size() - live_.size()); }

  // --- other workers ---
  void set_remote(uint32_t peer, uint32_t live, uint32_t offline);
  void remove_remote(uint32_t peer) { set_remote(peer, 0, 0); }
  bool has_remote(uint32_t peer) const;
  void add_remote_inflight(uint32_t peer, int32_t delta);
  const std::vector<Remote>& remotes() const { return remotes_; }
  bool live_anywhere() const;
  // Here, or with a peer that is not one of these.
  bool live_but(const PeerSet& refused) const { return weight(Pool::live, refused, true) > 0; }

  bool empty() const { return members_.empty() && remotes_.empty(); }

  // Where a message goes: a local member or a peer (which then picks one of its members with pick_local).
  struct Choice {
    bool is_local = false;
    SubscriberId subscriber = 0;
    uint32_t peer = 0;
  };
  // Prefers live members everywhere over offline ones everywhere, whatever the strategy. Peers in `refused` are left
  // out (they had no live member after all); local offline members and peers with offline members only count when
  // nobody is live. `local_allowed` false: this worker is left out. nullopt: nobody is left. Round-robin and random
  // weigh a peer by its number of members; sticky keeps the choice while that member or peer has a live member; hash
  // maps the publisher's client id onto the live members ordered by (worker, subscriber), so the same publisher keeps
  // its member while the group does not change; local prefers this worker's live members (round-robin among them),
  // otherwise round-robin; least_inflight compares the peers' in-flight numbers (per live member) with that of the
  // least busy local member, of a large group among some members in turn.
  std::optional<Choice> pick(SharedStrategy strategy, std::string_view publisher, const PeerSet& refused,
                             bool local_allowed, uint32_t self_peer, base::Random& random,
                             const InflightOf& inflight_of);
  // Among local members only: live ones first, otherwise offline ones if `offline_too`.
  std::optional<SubscriberId> pick_local(SharedStrategy strategy, std::string_view publisher, bool offline_too,
                                         base::Random& random, const InflightOf& inflight_of);

  bool was_live = false;  // live_anywhere() when the dispatcher last looked
  struct Anchor {
    NodeId node = kNoNode;
    uint32_t entry = 0;
    uint32_t index = 0;
  };
  Anchor anchor;  // the tree's: where it hangs

 private:
  // What a choice weighs: live members if there are any among the candidates, otherwise offline ones.
  enum class Pool : uint8_t { live, offline };
  uint32_t local_count(Pool pool) const { return pool == Pool::live ? live_members() : offline_members(); }
  uint64_t weight(Pool pool, const PeerSet& refused, bool local_allowed) const;
  bool keeps(const Choice& choice, Pool pool, const PeerSet& refused, bool local_allowed) const;
  Choice nth(uint64_t n, Pool pool, const PeerSet& refused, bool local_allowed, uint32_t self_peer) const;
  Choice least_inflight(const PeerSet& refused, bool local_allowed, const InflightOf& inflight_of);
  struct Idle {
    SubscriberId subscriber = 0;
    uint32_t inflight = 0;
  };
  Idle least_inflight_local(const InflightOf& inflight_of);
  SubscriberId pick_from(Pool pool, SharedStrategy strategy, std::string_view publisher, base::Random& random,
                         const InflightOf& inflight_of);

  std::vector<Remote>::iterator remote_place_of(uint32_t peer);
  Member* find(SubscriberId subscriber);
  void note_live(SubscriberId subscriber, bool live);

  std::string filter_;
  std::string name_;
  // Of the live members least_inflight looks at no more than these for a message.
  static constexpr size_t kCandidates = 16;
  // Past this many an index replaces the linear search.
  static constexpr size_t kIndexFrom = 32;

  std::vector<Member> members_;
  std::unordered_map<SubscriberId, uint32_t> index_;  // of members_, if there are many
  std::vector<SubscriberId> live_;                    // ordered
  std::vector<Remote> remotes_;                       // ordered by peer
  uint64_t turn_ = 0;                                 // round-robin
  uint64_t local_turn_ = 0;                           // round-robin among local members
  std::optional<Choice> sticky_;                      // of pick()
  std::optional<SubscriberId> local_sticky_;          // of pick_local()
};

}  // namespace router
