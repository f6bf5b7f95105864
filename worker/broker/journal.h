// What this worker writes to its store: the changes of one turn are one batch; what is promised on the strength of them
// (a PUBACK, a PUBREC, a SUBACK, a PUBLISH whose packet id must not be lost) waits for the batch. DESIGN sections 4
// and 6.
//
// It also knows, of every worker process, the last message that is stored here, so that a message which is sent again
// after somebody's death is not stored twice: messages of one origin come in the order of their numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/store/record.h"
#include "shared/store/store.h"
#include "worker/broker/core.h"
#include "worker/broker/tickets.h"

namespace broker {

// Whose order a number belongs to. Bits of Uid::sequence of a Message::once.
inline constexpr uint64_t kAccepted = uint64_t{1} << 63;  // numbers of `P` records (accepted.h); else: of routing

// Whether a message travels between hosts in the order of its worker's stream. QoS 0 has a path of its own, but for
// what is known by an identity: a will, which may be sent again.
inline bool in_stream(proto::QoS qos, const bus::Uid& once) {
  return qos != proto::QoS::at_most_once || (once.sequence & kAccepted) != 0;
}
inline bool in_stream(const bus::Message& message) {
  return in_stream(message.qos(), message.once());
}

// Streams of one origin that are stored independently of each other: a worker is sent them in order each.
enum class Stream : uint8_t { messages = 0, retained = 1 };

class Journal {
 public:
  explicit Journal(Core& core) : core_(core) {}

  // --- writing ---
  void put(std::string_view key, std::string_view value) { batch_.put(key, value); }
  void erase(std::string_view key) { batch_.erase(key); }
  // Grows with every change: who compares knows whether something was written in between.
  uint64_t changes() const { return changes_before_ + batch_.changes(); }

  // --- waiting ---
  // For everything written so far. With nothing written and nothing under way that is now.
  void wait(TicketId ticket);
  void then(std::function<void()> done);
  // When this turn's batch is stored, also what is written after this call.
  void after_turn(std::function<void()> done) { current_.functions.push_back(std::move(done)); }
  // The session sends what waits for this turn's batch: Session::on_stored(number of the batch).
  void wait_to_send(const session::Session& session);
  uint64_t batch() const { return number_; }

  // --- what is known ---
  // Stored before: not to be stored again.
  bool knows(const bus::Uid& once, Stream stream) const;
  // The message is stored with what has been written in this turn.
  void note(const bus::Message& message, Stream stream);
  // The same for one that was held for a session on the move: later ones may have been noted.
  void note_held(const bus::Message& message);
  // By origin: the last of the messages with an identity of their own (kAccepted); of the others.
  std::map<uint64_t, uint64_t> accepted_seen() const { return seen_of(2); }
  std::map<uint64_t, uint64_t> routed_seen() const { return seen_of(0); }
  // What is known of messages (not of retained ones) is not any more.
  void forget_seen();
  // The message has been here, though nothing of it is stored: should it be routed again, it is known while we live.
  void note_passing(const bus::Message& message, Stream stream);
  // From the store.
  void restore_seen(const store::Key& key, uint64_t sequence);

  // --- the turn ---
  // Hands the batch over. Call after everything of the turn that writes.
  void end_of_turn();
  // Batches are complete that are stored, and waited for their copy.
  void run_completed();
  size_t waiting_bytes() const { return waiting_bytes_ + batch_.bytes(); }
  // More is not to be accepted from publishers: the store is full, failing or behind.
  bool refuses() const { return core_.env.store->health() != store::Health::ok; }
  bool behind() const { return waiting_bytes_ > kMaxWaiting; }
  // It refuses, and has not written what waits for a while: who needs it now would wait in vain.
  bool stuck() const;
  // Calls it when the store has caught up; at once if it has.
  void hold_back(connection::MqttClient& client);

  store::Now now() const;

 private:
  static constexpr size_t kMaxWaiting = 64 * 1024 * 1024;
  static constexpr base::MonoMs kStuckMs = 1000;
  static constexpr size_t kMaxOrigins = 512;  // of dead processes, the newest

  struct Waiting {
    uint64_t number = 0;
    bool stored = false;
    size_t bytes = 0;
    base::MonoMs since = 0;
    std::vector<TicketId> tickets;
    std::vector<std::function<void()>> functions;
    std::vector<std::pair<router::SubscriberId, uint64_t>> senders;  // and the session's number in the store
  };
  void completed(Waiting& done);
  void forget_long_dead();
  // Where what is to wait for everything written so far is put; null: nothing is under way.
  Waiting* last();

  Core& core_;
  store::Batch batch_;
  Waiting current_;
  uint64_t number_ = 1;  // of batch_
  uint64_t changes_before_ = 0;
  std::map<uint64_t, Waiting> under_way_;
  size_t waiting_bytes_ = 0;
  using Origin = std::pair<uint64_t, uint8_t>;  // incarnation; bit 0: Stream, bit 1: kAccepted
  std::map<uint64_t, uint64_t> seen_of(uint8_t kind) const;
  static Origin origin_of(const bus::Uid& once, Stream stream);
  std::map<Origin, uint64_t> stored_;
  std::map<Origin, uint64_t> noted_;  // in this turn
  std::vector<ClientRef> held_back_;
};

}  // namespace broker
