// What a dead worker leaves behind in the streams between the living.
//
// A session may have moved from A to B just before A died. B's routes are on their way, but another worker P may learn
// of A's death first: without care it would drop A's routes, find nobody for a message, and say PUBACK. So A's routes
// stay at P until every linked peer has said `departed(A)`, which each says when it has read A's stream to its end, and
// so behind the routes of everything that moved to it. Until then what P's clients publish to A's filters is held, and
// those clients are not read; then A's routes go, but for those with durable sessions behind them: what is published to
// these waits for A's replacement in the outbox. What was held is routed afresh (contract C5).
// Nothing of the kind is left after a few milliseconds, unless a peer is stopped: then until it is killed as stuck.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "worker/broker/client_table.h"
#include "worker/broker/core.h"
#include "worker/broker/publisher.h"
#include "worker/broker/tickets.h"

namespace broker {

struct Peer;

class Departures {
 public:
  explicit Departures(Core& core) : core_(core) {}

  // This worker has read the dead peer's stream to its end.
  void on_peer_gone(const WorkerId& gone);
  bool on_departed(Peer& from, std::string_view body);

  // A dead worker's routes are still in the tree under this slot: its successor waits.
  bool pending(uint32_t slot) const { return slots_.contains(slot); }
  // Some of these are the dead's: the message must be held.
  bool concerns(const router::PeerSet& peers) const;
  // Some are held. Messages with an identity of their own (accepted.h) that come meanwhile must be, too: owners know
  // them by the order of their numbers.
  bool holding() const { return !held_.empty(); }
  // Uses the current ticket. `client` may be null (a will). `record`: of an accepted message.
  void hold(const bus::MessageRef& message, connection::MqttClient* client, const AcceptedRecord& record);

 private:
  struct Departure {
    WorkerId who;
    std::set<uint64_t> awaited;  // incarnations of the peers that have not said departed
  };
  struct Held {
    bus::MessageRef message;
    ClientRef client;
    TicketId ticket = kNoTicket;
    AcceptedRecord record;
  };
  void tell(Peer& peer, const WorkerId& gone, bool ask);
  void finish_if_done(std::map<uint64_t, Departure>::iterator it);

  Core& core_;
  std::map<uint64_t, Departure> departures_;           // by incarnation
  std::set<uint32_t> slots_;                           // of departures_
  std::map<uint64_t, std::set<uint64_t>> said_early_;  // departed(key) from these, before we had seen it ourselves
  std::vector<Held> held_;
};

}  // namespace broker
