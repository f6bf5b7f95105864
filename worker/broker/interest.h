// Subscriptions, and telling the peers what this worker wants (contract C5).
//
// A peer needs to know a filter once, however many sessions here subscribe to it: it is announced with its first
// subscriber, withdrawn with its last. Announcements are numbered; a SUBACK waits until every linked peer has processed
// the newest number its filters need.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "worker/broker/core.h"
#include "worker/broker/far_interest.h"

namespace broker {

struct Peer;

class Interest {
 public:
  explicit Interest(Core& core) : core_(core), far_(core) {}

  struct Subscribed {
    bool existed = false;       // the subscription was replaced [MQTT-3.8.4-3]
    uint64_t announcement = 0;  // number the SUBACK must wait for, 0 = none
  };
  Subscribed subscribe(session::Session& session, std::string_view filter, const router::SubscriptionOptions& options);
  Subscribed subscribe_shared(session::Session& session, std::string_view group, std::string_view filter,
                              const router::SubscriptionOptions& options);
  // False: no such subscription.
  bool unsubscribe(session::Session& session, std::string_view filter);
  bool unsubscribe_shared(session::Session& session, std::string_view group, std::string_view filter);
  void remove_all(session::Session& session);
  // Leaves all shared groups; what the session has of them stays with it.
  void leave_groups(session::Session& session);

  // --- in a gateway, for another node of the cluster ---
  // REQUIRES: the node does not have that filter. Announced as durable: no worker knows what is behind it.
  router::TopicTree::Added add_node(router::SubscriberId node, std::string_view filter);
  router::TopicTree::Removed remove_node(router::NodeId at, uint32_t position);
  // Other nodes' members of a group: a share, in core.scratch.
  void announce_far() { broadcast(bus::FrameType::share); }
  // The newest announcement.
  uint64_t last_announcement() const { return last_announcement_; }

  // Tells all peers the group's members here; the number a SUBACK must wait for.
  uint64_t announce_group(const router::SharedGroup& group);

  // --- peers ---
  void sync_to(Peer& peer);
  // From the store: what a gateway, which is not there any more, had told. Others are not known.
  void restore(std::string_view name);
  void on_loaded();
  bool on_route(uint32_t from, std::string_view body);
  bool on_share(uint32_t from, std::string_view body);
  FarInterest& far() { return far_; }
  // Something is known of a dead worker that its replacement has not told yet.
  bool keeps(uint32_t slot) const;
  // To a gateway, what its predecessor wanted: no other host may be there to say so again, and no other worker knows.
  void tell_kept(Peer& gateway);
  // ... and what a session wants that another life of this host has: that may not be there yet to say so.
  void tell_given_up(Peer& gateway, const session::Session& session);
  // Its groups' members are offline until its replacement tells which there are; its routes are departures.h's.
  void on_peer_gone(uint32_t slot);
  // It has told everything: what is only its predecessor's goes.
  void on_peer_synced(uint32_t slot);

 private:
  void leave(session::Session& session, router::SharedGroup& group);
  void remove_at(session::Session& session, router::NodeId node, uint32_t position);
  router::TopicTree::Removed withdraw_at(router::NodeId node, uint32_t position);
  void announce_route(router::NodeId node, bool durable, std::string_view filter);
  void route_body(bool add, bool durable, std::string_view filter);
  void share_body(const router::SharedGroup& group);
  void share_body(const router::SharedGroup& group, uint32_t live, uint32_t offline);
  uint64_t broadcast(bus::FrameType type);
  uint8_t& flags_of(router::NodeId node);
  uint64_t pending_number(router::NodeId node);

  static constexpr uint8_t kAnnouncedDurable = 1;

  Core& core_;
  FarInterest far_;
  std::vector<uint8_t> node_flags_;  // by node
  uint64_t last_announcement_ = 0;
  // By slot: groups, as (filter, name), of a dead worker's members.
  std::map<uint32_t, std::set<std::pair<std::string, std::string>>> kept_shares_;
  std::unordered_map<router::NodeId, uint64_t> unconfirmed_;  // announcements not yet processed everywhere
};

}  // namespace broker
