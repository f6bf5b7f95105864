// The gateway's part of retained messages: between the topics' homes on this host (retained_home.h) and Redis, which
// decides the order of the whole cluster's changes. DESIGN section 7.
//
// It keeps no message. Homes' changes go to Redis, and the version it gives back to the home. What any host has changed
// comes through Hub::changes() and goes to the topic's home. A home that may have missed something (it is new, or this
// gateway is, or the connection broke, or there is a gap in the changes) gets a round: a snapshot, begun behind a known
// place in the changes. Nothing is read from Redis while a home has too much that it has not stored.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/bus/frames.h"
#include "shared/cluster/hub.h"
#include "worker/broker/core.h"

namespace broker {

struct Peer;

class RetainedSync {
 public:
  RetainedSync(Core& core, cluster::Hub& hub) : core_(core), hub_(hub), homes_(core.homes) {}

  // --- the gateway ---
  // Redis is there, and knows this gateway. May be repeated.
  void on_joined(uint64_t cluster_id);
  void on_down();
  // Every home has once had all that there was.
  bool synchronised() const { return synchronised_; }
  // Tries again what failed; call now and then.
  void poke() { pump(); }

  // --- homes ---
  void on_worker_linked(Peer& peer);
  void on_worker_gone(const WorkerId& peer);
  bool on_order(const Peer& from, std::string_view body, const base::BufferRef& attachment);
  bool on_offer(const Peer& from, std::string_view body, const base::BufferRef& attachment);
  bool on_stored(const Peer& from, std::string_view body);

 private:
  static constexpr size_t kWindow = 1024 * 1024;  // bytes sent to a home and not stored there
  static constexpr uint64_t kFloor = 1000;        // more than Redis gives between two of its answers

  enum class Redis : uint8_t { unknown, up, away };
  // Answers go to a home in the order of its questions.
  struct Answer {
    bool known = false;
    uint64_t version = 0;
  };
  struct Answers {
    std::deque<Answer> waiting;
    uint64_t first = 0;  // the number of the front one
  };
  struct Home {
    uint64_t incarnation = 0;  // 0: not linked
    bool needs_round = true;
    Answers orders;
    Answers offers;
    std::deque<size_t> unstored;  // bytes of changes
    uint64_t stored = 0;          // changes before these
    size_t unstored_bytes = 0;
  };
  struct Round {
    bool runs = false;
    uint64_t number = 0;
    std::set<uint32_t> homes;  // that have not ended it
    uint64_t cursor = 0;
    bool asked = false;
    bool read = false;  // to the end
  };

  Home* home_of(const Peer& peer);
  void send(uint32_t slot, bus::FrameType type, std::string_view body);
  void send_state(uint32_t slot);
  void need_rounds();
  void pump();
  void begin_round();
  void end_round();
  void read_changes();
  void read_snapshot();
  void on_changes(cluster::Status status, const cluster::Changes& changes);
  void on_piece(cluster::Status status, const cluster::Changes& piece);
  void pass(const cluster::Retained& item, bool of_snapshot);
  bool crowded() const;
  std::string value_of(const bus::Message& message) const;
  bus::MessageRef message_of(const cluster::Retained& item) const;
  // For Hub's answer to a question that has just been asked.
  cluster::Hub::Answer<uint64_t> expect(uint32_t slot, Answers Home::*answers, bus::FrameType type);
  void answer(uint32_t slot, Answers Home::*answers, bus::FrameType type);
  int64_t expiry_shift() const;
  void refresh_gauge() const;

  Core& core_;
  cluster::Hub& hub_;
  std::vector<Home> homes_;  // by slot
  Redis redis_ = Redis::unknown;
  uint64_t session_ = 0;  // counts connections: an answer of an earlier one is void
  uint64_t cluster_id_ = 0;
  uint64_t highest_ = 0;       // version seen
  uint64_t position_ = 0;      // in the changes; 0: to be asked for
  base::MonoMs in_touch_ = 0;  // when the changes were last followed; 0: never
  bool changes_asked_ = false;
  Round round_;
  bool synchronised_ = false;
};

}  // namespace broker
