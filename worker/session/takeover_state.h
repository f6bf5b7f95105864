// What a session remembers while it moves from one worker to another. The protocol is in worker/broker/takeovers.h.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "worker/session/delivery.h"
#include "worker/session/subscriptions.h"

namespace session {

// Names what waits for a message, see worker/broker/tickets.h.
using TicketId = uint32_t;

// At the new owner, until the old owner's state has come: messages are held.
struct Inbound {
  struct Held {
    Delivery delivery;
    TicketId ticket = 0;
  };
  uint32_t from_slot = 0;  // the old owner
  uint64_t from_incarnation = 0;
  uint64_t claim = 0;          // this worker's claim number: names the takeover
  std::set<uint64_t> asked;    // workers that have not said cut_sent
  std::set<uint64_t> streams;  // workers that have cut their stream to the old owner
  bool freezing = false;       // all have: the old owner was told
  std::vector<Held> held;      // in the order they came
  size_t held_bytes = 0;
  // By worker process: what this worker had been sent before that.
  std::map<uint64_t, uint64_t> known;
  std::map<uint64_t, uint64_t> known_accepted;
};

// At the old owner, which keeps the whole session until the new one has it safe.
struct Outbound {
  uint32_t to_slot = 0;  // the new owner
  uint64_t to_incarnation = 0;
  uint64_t claim = 0;                        // the new owner's claim number
  std::set<uint64_t> cuts;                   // workers whose cut has come
  std::optional<std::set<uint64_t>> wanted;  // workers whose cut must have come, once we know
  bool frozen = false;                       // the state has been sent
  std::vector<OwnShare> left;                // groups left when it was frozen
};

}  // namespace session
