// What the answer to a QoS 1 or 2 PUBLISH waits for: its message handed to every worker that wants it, a shared group's
// member found, a retained message at its home (contract C6). One ticket a message, opened only if there is a wait.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/reason_code.h"
#include "worker/broker/client_table.h"
#include "worker/session/takeover_state.h"

namespace broker {

using session::TicketId;
inline constexpr TicketId kNoTicket = 0xFFFFFFFF;

class Tickets {
 public:
  explicit Tickets(ClientTable& clients) : clients_(clients) {}

  // While routing one PUBLISH: begin(), any number of wait(), end().
  void begin(ClientRef client, uint64_t pending);
  // The message waits for one more thing; done() with this ticket when it has come. kNoTicket when nobody asked.
  TicketId wait();
  // Messages that nobody waits for (wills, QoS 0): wait() gives kNoTicket.
  void begin_unwatched() { watched_ = false; }
  // False: nothing to wait for, the answer is the caller's. True: publish_complete() will be called with `reason`.
  bool end(proto::ReasonCode reason);

  // Goes on with an open ticket (or kNoTicket): resume(), any number of wait(), end_resumed(), which takes back the
  // wait that kept it open.
  void resume(TicketId ticket);
  void end_resumed();

  void done(TicketId ticket);
  size_t open() const { return tickets_.size() - free_.size(); }

 private:
  struct Ticket {
    ClientRef client;
    uint64_t pending = 0;
    uint32_t remaining = 0;
    proto::ReasonCode reason = proto::ReasonCode::success;
  };
  ClientTable& clients_;
  std::vector<Ticket> tickets_;
  std::vector<TicketId> free_;
  bool watched_ = false;
  ClientRef client_;
  uint64_t pending_ = 0;
  TicketId current_ = kNoTicket;
};

}  // namespace broker
