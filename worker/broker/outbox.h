// Messages for the worker of a slot that is dead: what it had not confirmed when it died, and what is published to its
// durable sessions and its retained topics until its replacement is there. They are stored, so PUBACKs rest on that,
// and are sent to the replacement before anything else, in the order they were published. Retained messages wait, too,
// but their PUBACKs with them: only their home can put the changes of several workers into the order of their
// acknowledgements.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "worker/broker/client_table.h"
#include "worker/broker/core.h"
#include "worker/broker/peers.h"

namespace broker {

class Outbox {
 public:
  explicit Outbox(Core& core) : core_(core), slots_(core.slots) {}

  // For the dead worker of a slot. Uses the current ticket; `client`, the publisher (or null), is not read while too
  // much waits.
  void add(uint32_t slot, store::Purpose purpose, const bus::MessageRef& message, connection::MqttClient* client);
  void on_unstored(const WorkerId& peer, base::Ring<Peer::Unstored> unstored);
  // Everything goes out: what is appended to the link now is behind routes and in front of new messages.
  void on_peer_linked(Peer& peer);
  // The peer has stored what that record is of.
  void forget(uint32_t slot, uint64_t number);
  // A number for a record of somebody else's (shared_dispatch.h) for that worker.
  uint64_t take_number() { return next_number_++; }
  uint64_t next_number() const { return next_number_; }
  // Numbers below this one have been given.
  void reserve(uint64_t number) { next_number_ = std::max(next_number_, number); }
  // From the store, in the order of their numbers.
  void restore(uint32_t slot, uint64_t number, store::Purpose purpose, const bus::MessageRef& message);

  size_t size() const;
  bool waits(uint32_t slot) const { return !slots_[slot].waiting.empty(); }

 private:
  struct Slot {
    std::deque<Peer::Unstored> waiting;
    uint64_t bytes = 0;
    std::vector<ClientRef> held_back;
  };
  void store(uint32_t slot, Peer::Unstored& entry);
  bool waits_for_replacement(store::Purpose purpose) const;

  Core& core_;
  std::vector<Slot> slots_;
  uint64_t next_number_ = 1;
};

}  // namespace broker
