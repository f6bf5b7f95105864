// Retained messages over the host: each topic's home worker keeps its message; a subscription is replayed from one home
// (exact filter) or from all (wildcard). [MQTT5 3.3.1.3]
//
//   subscriber's worker ──retain_query(filter, credit)──> home     home ──retain_item──> … ──retain_end──>
//                       ──retain_credit──> home, as the client's output drains
//
// Replay is sliced (a bounded number of messages a turn) and flow-controlled (nothing is asked for while the client's
// output or queue is full), so however many match, all arrive and no other client waits. A topic of which a newer
// message has been delivered live since the SUBSCRIBE is skipped.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "worker/broker/core.h"
#include "worker/router/retained.h"

namespace broker {

struct Peer;

class RetainedService {
 public:
  explicit RetainedService(Core& core) : core_(core) {}

  // Brings a retained message to its home. Uses the current ticket. False: refused (mqtt.max_retained).
  bool store(const bus::MessageRef& message);
  // Starts sending what the filter matches to the session's client.
  void replay(session::Session& session, std::string_view filter, const router::SubscriptionOptions& options);
  // The session's connection ended, or it unsubscribed.
  void cancel(session::Session& session);
  void cancel(session::Session& session, std::string_view filter);
  // A message with retain set was delivered to this session live.
  void note_live(session::Session& session, std::string_view topic);
  // One slice of everything under way. True: there is more to do at once.
  bool run_slice();
  // Drops expired messages; call now and then.
  void sweep();

  bool on_set(std::string_view body, const base::BufferRef& attachment);
  bool on_query(Peer& from, std::string_view body);
  bool on_item(Peer& from, std::string_view body, const base::BufferRef& attachment);
  bool on_end(Peer& from, std::string_view body);
  bool on_credit(Peer& from, std::string_view body);
  bool on_cancel(Peer& from, std::string_view body);
  void on_peer_gone(const WorkerId& peer);

  const router::Retained& local() const { return retained_; }
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
      uint32_t unreported = 0;  // items taken since credit was last given
    };
    std::map<uint32_t, Source> remotes;  // by slot, until their retain_end
    std::unordered_set<std::string> seen_live;
    bool done() const { return !local && remotes.empty(); }
  };
  // For another worker's query.
  struct ServingKey {
    uint64_t peer = 0;  // incarnation
    uint64_t query = 0;
    auto operator<=>(const ServingKey&) const = default;
  };
  struct Serving {
    uint32_t slot = 0;
    router::Retained::Cursor cursor;
    uint32_t credit = 0;
  };
  bool set_local(const bus::MessageRef& message);
  void refresh_gauges();
  void deliver(Replay& replay, const bus::MessageRef& message);
  bool has_room(const Replay& replay) const;
  void give_credit(uint64_t query, Replay& replay);
  void cancel_replay(std::map<uint64_t, Replay>::iterator it);
  bool serve(ServingKey key, Serving& serving);

  Core& core_;
  router::Retained retained_;
  size_t own_topics_ = 0;  // $SYS topics among them
  uint64_t next_query_ = 1;
  std::map<uint64_t, Replay> replays_;
  std::map<ServingKey, Serving> servings_;
  std::vector<bus::MessageRef> slice_;
};

}  // namespace broker
