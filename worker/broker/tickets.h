// What the answer to a message waits for: its being stored here, stored with or handed to every worker that wants it, a
// shared group's member found, a retained message at its home (contract C6). One ticket a message, opened only if there
// is a wait. The answer is a client's PUBACK or PUBREC, or whatever a function does: tell the worker that sent the
// message, forget a record.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>
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
  // The answer is this function's; end() is followed by it at once if there is nothing to wait for.
  using Answer = std::function<void(proto::ReasonCode)>;
  void begin(Answer answer);
  template <std::invocable F>
  void begin(F answer) {
    begin(Answer([answer = std::move(answer)](proto::ReasonCode) mutable { answer(); }));
  }
  // The message waits for one more thing; done() with this ticket when it has come. kNoTicket when nobody asked.
  TicketId wait();
  // The same for what is in this turn's batch of this worker's own store.
  TicketId wait_here() {
    ++here_;
    return wait();
  }
  // So far nothing but this worker's own batch is waited for.
  bool waits_elsewhere() const { return waits_ != here_; }
  // Messages that nobody waits for (wills, QoS 0): wait() gives kNoTicket.
  void begin_unwatched() { watched_ = false; }
  // False: nothing to wait for, the answer is the caller's. True: publish_complete() will be called with `reason`.
  bool end(proto::ReasonCode reason = proto::ReasonCode::success);

  // Goes on with an open ticket (or kNoTicket): resume(), any number of wait(), end_resumed(), which takes back the
  // wait that kept it open.
  void resume(TicketId ticket);
  void end_resumed();
  // The same, and the answer has another reason than end() gave it.
  void end_resumed(proto::ReasonCode reason);

  void done(TicketId ticket);
  // In front of done(): it was refused there for a limit. The answer says so if it is for nobody else.
  void refused(TicketId ticket);
  size_t open() const { return tickets_.size() - free_.size(); }

 private:
  struct Ticket {
    ClientRef client;
    uint64_t pending = 0;
    uint32_t remaining = 0;
    proto::ReasonCode reason = proto::ReasonCode::success;
    Answer answer;  // empty: the client's
  };
  ClientTable& clients_;
  std::vector<Ticket> tickets_;
  std::vector<TicketId> free_;
  bool watched_ = false;
  ClientRef client_;
  uint64_t pending_ = 0;
  TicketId current_ = kNoTicket;
  Answer answer_;       // of the message being routed
  uint32_t waits_ = 0;  // since begin()
  uint32_t here_ = 0;
};

}  // namespace broker
