// Messages that are ours to route from the moment they are stored: QoS 2 PUBLISHes of durable sessions (one commit
// holds packet id and message, so that whatever dies, the message is routed and the packet id known), and wills that
// are due (one commit holds the will's end and the message). Each has an identity by which owners drop it if they have
// it, and is routed again under that by a replacement of this worker. DESIGN sections 4 and 5.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "proto/reason_code.h"
#include "worker/broker/client_table.h"
#include "worker/broker/core.h"

namespace broker {

class Accepted {
 public:
  explicit Accepted(Core& core) : core_(core) {}

  // Stores the message with what has been written in this turn, then routes it; `routed`, if any, is told how that
  // went. `publisher` (or none) is held back if there is no room. The fields' uid and once are filled in here.
  void accept(bus::Message::Fields fields, ClientRef publisher, std::function<void(proto::ReasonCode)> routed);
  // From the store; routed when this worker is ready.
  void restore(uint64_t number, const bus::MessageRef& message, bool placed);
  void on_ready();

 private:
  void write(uint64_t number, const bus::Message& message, bool placed);
  void route(uint64_t number, const bus::MessageRef& message, bool placed, ClientRef publisher,
             const std::function<void(proto::ReasonCode)>& routed);

  Core& core_;
  uint64_t next_number_ = 1;
  struct Restored {
    bus::MessageRef message;
    bool placed = false;  // its shared groups have it
  };
  std::map<uint64_t, Restored> restored_;
};

}  // namespace broker
