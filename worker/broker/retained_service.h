// Retained messages over the host: each topic's home worker keeps its message (retained_home.h); a subscription is
// replayed from one home (exact filter) or from all (wildcard). [MQTT5 3.3.1.3]
//
//   subscriber's worker ──retain_query(filter, credit)──> home     home ──retain_item──> … ──retain_end──>
//                       ──retain_credit──> home, as the client takes what came
//
// Replay is sliced (a bounded number of messages a turn) and flow-controlled: a message is given to the client only
// while its output and queue have room, what a home sent ahead (bounded in bytes) is parked until then. So however many
// match, all arrive and no other client waits. A topic of which a message has been delivered live since the SUBSCRIBE
// is skipped.
//
// A home's share lies in its store; a change whose home is dead waits in the outbox for the home's replacement.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "shared/base/ring.h"
#include "worker/broker/core.h"
#include "worker/broker/retained_home.h"
#include "worker/router/retained.h"

namespace broker {

struct Peer;

class RetainedService {
 public:
  explicit RetainedService(Core& core) : core_(core), home_(core) {}

  RetainedHome& home() { return home_; }

  // Brings a retained message to its home. Uses the current ticket; holds `client` (or null) back when the link has no
  // credit. False: refused (mqtt.max_retained); a home that is another worker's tells the ticket.
  bool store(const bus::MessageRef& message, connection::MqttClient* client);
  // From SUBSCRIBE on live messages are noted; start(), after the SUBACK, sends what the filter matches to the
  // session's client. Returns the number to start.
  uint64_t prepare(session::Session& session, std::string_view filter, const router::SubscriptionOptions& options);
  void start(uint64_t query);
  // The session's connection ended, or it unsubscribed.
  void cancel(session::Session& session);
  void cancel(session::Session& session, std::string_view filter);
  // A message with retain set was delivered to this session live.
  void note_live(session::Session& session, std::string_view topic);
  // The session's client took some of its output, or acknowledged something.
  void on_room(session::Session& session);
  // One slice of what can go on. True: there is more to do at once.
  bool run_slice();

  bool on_set(Peer& from, uint8_t flags, std::string_view body, const base::BufferRef& attachment);
  bool on_query(Peer& from, std::string_view body);
  bool on_item(Peer& from, std::string_view body, const base::BufferRef& attachment);
  bool on_end(Peer& from, std::string_view body);
  bool on_credit(Peer& from, std::string_view body);
  bool on_cancel(Peer& from, std::string_view body);
  void on_peer_linked(Peer& peer);
  void on_peer_gone(const WorkerId& peer);

  size_t active() const { return replays_.size() + servings_.size(); }

 private:
  // Towards a client of this worker.
  struct Replay {
    router::SubscriberId subscriber = 0;
    std::string filter;
    router::SubscriptionOptions options;
    std::unique_ptr<router::Retained::Cursor> local;  // this worker's own share, until done
    struct Source {
      uint64_t incarnation = 0;
      int64_t taken = 0;  // bytes given to the client since credit was last given
    };
    std::map<uint32_t, Source> remotes;  // by slot, until their retain_end
    std::set<uint32_t> awaited;          // homes that are dead: asked when their replacement is linked
    struct Parked {
      uint32_t slot = 0;
      bus::MessageRef message;
    };
    base::Ring<Parked> parked;
    std::unordered_set<std::string> seen_live;
    bool started = false;
    bool done() const { return started && !local && remotes.empty() && awaited.empty() && parked.empty(); }
  };
  using Replays = std::map<uint64_t, Replay>;
  // For another worker's query.
  struct ServingKey {
    uint64_t peer = 0;  // incarnation
    uint64_t query = 0;
    auto operator<=>(const ServingKey&) const = default;
  };
  struct Serving {
    uint32_t slot = 0;
    router::Retained::Cursor cursor;
    int64_t credit = 0;  // bytes; may go below zero by one message
  };
  void deliver(Replay& replay, const bus::MessageRef& message);
  bool has_room(const Replay& replay) const;
  // Gives the client what it has room for. True: it has room for more, and there is more here.
  bool run(uint64_t query, Replay& replay);
  void ask(uint64_t query, Replay& replay, Peer& home);
  void give_credit(uint64_t query, Replay& replay);
  void erase(Replays::iterator it);
  void cancel_replay(Replays::iterator it);
  // True: it can go on at once.
  bool serve(ServingKey key, Serving& serving);

  Core& core_;
  RetainedHome home_;
  uint64_t next_query_ = 1;
  Replays replays_;
  std::unordered_map<router::SubscriberId, std::vector<uint64_t>> by_subscriber_;
  std::set<uint64_t> runnable_;  // replays to look at in the next slice
  std::map<ServingKey, Serving> servings_;
  std::set<ServingKey> servable_;
  std::vector<bus::MessageRef> slice_;
};

}  // namespace broker
