// Messages that are ours to route from the moment they are stored: QoS 2 PUBLISHes of durable sessions (one commit
// holds packet id and message, so that whatever dies, the message is routed and the packet id known), and wills that
// are due (one commit holds the will's end and the message). Each has an identity by which owners drop it if they have
// it, and is routed again under that by a replacement of this worker. Its number is when it was accepted, so that those
// of several workers can be put in order (arrivals.h). DESIGN sections 4 and 5.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "proto/reason_code.h"
#include "shared/store/record.h"
#include "worker/broker/client_table.h"
#include "worker/broker/core.h"

namespace broker {

class Accepted {
 public:
  explicit Accepted(Core& core) : core_(core) {}

  // Stores the message with what has been written in this turn, then routes it; `routed`, if any, is told how that
  // went. `publisher` (or none) is held back if there is no room. The fields' uid and once are filled in here.
  void accept(bus::Message::Fields fields, ClientRef publisher, std::function<void(proto::ReasonCode)> routed);
  // The will of a session with that epoch, which may have gone on elsewhere (HostLife): stored until that is known.
  void keep_unsure(bus::Message::Fields fields, uint64_t epoch);
  // This host has gone on elsewhere: with those wills up to that epoch, and with what has been restored and has a
  // number below that one (HostLife). What of it was not in the copy its publisher sends again.
  void give_up(uint64_t epoch, uint64_t number);
  // What is left is this host's.
  void on_life_known();
  // Something has been restored and is not routed yet.
  bool waits() const { return !restored_.empty(); }
  uint64_t next_number() const { return next_number_; }
  // Numbers below this one have been given.
  void reserve(uint64_t number) { next_number_ = std::max(next_number_, number); }
  // From the store; routed when this worker is ready, and the host's sessions are not unsure.
  void restore(uint64_t number, const store::PendingRecord& record);
  void on_ready();

 private:
  std::pair<uint64_t, bus::MessageRef> number(bus::Message::Fields& fields);
  void write(uint64_t number, const bus::Message& message, bool placed);
  void forget(uint64_t number);
  void route_restored();
  void route(uint64_t number, const bus::MessageRef& message, bool placed, ClientRef publisher,
             const std::function<void(proto::ReasonCode)>& routed);

  Core& core_;
  uint64_t next_number_ = 1;
  struct Restored {
    bus::MessageRef message;
    bool placed = false;  // its shared groups have it
  };
  std::map<uint64_t, Restored> restored_;
  struct Unsure {
    bus::MessageRef message;
    uint64_t epoch = 0;
  };
  std::map<uint64_t, Unsure> unsure_;
};

}  // namespace broker
