// A home worker's share of the host's retained messages: which change of a topic is the last one, and what is stored.
// DESIGN sections 6 and 7.
//
// Every change has a version; the highest of a topic counts. On a host of its own the home gives the versions. In a
// cluster Redis does:
//
//   home ──retain_order──> gateway ── Redis decides ── gateway ──retain_ordered(version)──> home: applied, stored,
//   acked gateway ──retain_change(version)──> home        what other hosts have changed, and the pieces of a snapshot
//
// Orders wait in a queue, so changes of one publisher keep their order whatever becomes of their answers. While Redis
// is away (retain_state) the home gives a version itself and notes the change as unconfirmed: it is offered to Redis
// (retain_offer) when that is back, and the higher version wins everywhere. A gateway that has died is waited for: that
// takes milliseconds, and a change that waits needs no reconciling. Only if none comes for a while is Redis taken for
// away.
//
// A deletion leaves a tombstone with its version, so that a change that comes late does not bring the message back. A
// message that expires is a deletion with the next version, which is the same on every host.
//
// A snapshot of what Redis has is a round: what is here, confirmed, and not in it has been deleted while this host was
// not told; or, if it is another cluster than the last time, Redis has lost it: then it is offered. A host is never
// emptied because Redis is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/store/record.h"
#include "worker/broker/client_table.h"
#include "worker/broker/core.h"
#include "worker/broker/tickets.h"
#include "worker/router/retained.h"

namespace broker {

struct Peer;

class RetainedHome {
 public:
  explicit RetainedHome(Core& core) : core_(core), unknown_since_(core.now()) {}

  // --- from the store ---
  void restore(const store::RetainedRecord& record);
  void restore_cluster(uint64_t id) { cluster_ = id; }

  // --- changes of this host ---
  // The broker's own topics are not stored, nor the users' to be limited by, nor the other hosts'.
  static bool is_own(std::string_view topic) { return topic.starts_with("$SYS/"); }
  void set_own(const bus::MessageRef& message);
  // Another topic's. Uses the current ticket; holds `client` (or null) back while too much waits. False: refused
  // (mqtt.max_retained). A repeat, after a death, of what is stored already does not undo what has come since.
  bool store(const bus::MessageRef& message, connection::MqttClient* client);

  // --- from the gateway ---
  bool on_state(std::string_view body);
  bool on_ordered(std::string_view body);
  bool on_change(std::string_view body, const base::BufferRef& attachment);
  bool on_round(std::string_view body);
  bool on_offered(std::string_view body);
  void on_gateway_gone();

  // --- the turn ---
  // One slice of what can go on. True: there is more to do at once.
  bool run_slice();
  // Forgets what has expired; about once a second.
  void sweep();

  const router::Retained& messages() const { return messages_; }
  size_t waiting() const { return waiting_.size(); }

  // How long a deletion is remembered, and how many are.
  static constexpr base::MonoMs kTombstoneMs = 3'600'000;
  static constexpr size_t kMaxTombstones = 100'000;

 private:
  using Entry = router::Retained::Entry;
  enum class Redis : uint8_t { unknown, up, away };
  struct Waiting {
    bus::MessageRef message;
    TicketId ticket = kNoTicket;
    bool sent = false;  // to any gateway: Redis may have it
  };
  struct Offer {
    std::string topic;
    uint64_t version = 0;
    size_t bytes = 0;
  };

  bool away() const { return redis_ == Redis::away || lonely_; }
  bool over_limit(const bus::Message& message, bool known) const;
  void note_refused();
  uint64_t next_version();
  void send_waiting();
  void finish_first(uint64_t version);
  void order(const bus::MessageRef& message, uint64_t version);
  bool is_lost(const bus::Message& message) const;
  void apply(const bus::MessageRef& message, uint64_t version, bool of_snapshot);
  void put(const bus::MessageRef& message, uint64_t version, bool unconfirmed);
  void restamp(const Entry& entry, bool unconfirmed);
  void write(const bus::MessageRef& message, uint64_t version, bool unconfirmed);
  void track(std::string_view topic, bool unconfirmed);
  void remember_tombstone(std::string_view topic);
  void forget(std::string_view topic);
  void resume_clients();
  bool run_round();
  bool run_offers();
  void report();
  void refresh_gauges();

  Core& core_;
  router::Retained messages_;
  size_t own_topics_ = 0;               // $SYS topics among them
  uint64_t last_version_ = 0;           // the highest there was
  std::deque<std::string> tombstones_;  // topics, the oldest first; some have come back to life
  bool gauges_due_ = false;
  base::MonoMs log_refused_at_ = 0;  // not before

  // --- of a cluster ---
  Redis redis_ = Redis::unknown;
  base::MonoMs unknown_since_;
  bool lonely_ = false;  // nobody has said how Redis is, for too long
  std::deque<Waiting> waiting_;
  size_t sent_ = 0;  // of them, the first ones: to this gateway
  size_t waiting_bytes_ = 0;
  // By topic: the last version that was given here to what had waited in front of what still waits.
  std::map<std::string, uint64_t, std::less<>> decided_here_;
  std::vector<ClientRef> held_back_;

  std::set<std::string, std::less<>> unconfirmed_;
  // Of these: earlier changes that Redis may have done without our being told, maybe with a higher version. Deletions
  // have no identity there: {}.
  std::map<std::string, std::vector<bus::Uid>, std::less<>> lost_;
  std::deque<Offer> offers_;  // that have no answer yet
  size_t offers_bytes_ = 0;
  bool offering_ = false;
  bool offer_again_ = false;
  std::string offered_to_;  // the topic up to which has been offered

  uint64_t cluster_ = 0;        // that the last round was of
  uint64_t round_cluster_ = 0;  // that this one is of
  bool round_told_ = false;     // the snapshot has all deletions: what it does not have Redis has lost
  uint32_t round_ = 0;          // counts rounds; stamps have the last one that knew of them
  std::unique_ptr<router::Retained::Cursor> ending_;
  uint64_t ending_round_ = 0;  // its number at the gateway
  uint64_t taken_ = 0;         // changes of this gateway
  uint64_t round_done_ = 0;
  uint64_t told_taken_ = 0;
  uint64_t told_round_ = 0;
  std::vector<Entry> slice_;
};

}  // namespace broker
