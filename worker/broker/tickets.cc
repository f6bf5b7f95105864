#include "worker/broker/tickets.h"

#include <utility>

namespace broker {

void Tickets::begin(ClientRef client, uint64_t pending) {
  watched_ = true;
  client_ = client;
  pending_ = pending;
  current_ = kNoTicket;
  answer_ = nullptr;
  waits_ = here_ = 0;
}

void Tickets::begin(Answer answer) {
  watched_ = true;
  current_ = kNoTicket;
  answer_ = std::move(answer);
  waits_ = here_ = 0;
}

TicketId Tickets::wait() {
  ++waits_;
  if (!watched_) return kNoTicket;
  if (current_ == kNoTicket) {
    if (free_.empty()) {
      free_.push_back(static_cast<TicketId>(tickets_.size()));
      tickets_.emplace_back();
    }
    current_ = free_.back();
    free_.pop_back();
    // One for begin()..end(): what is done meanwhile does not complete it.
    tickets_[current_] = {client_, pending_, 1, proto::ReasonCode::success, std::exchange(answer_, nullptr)};
  }
  ++tickets_[current_].remaining;
  return current_;
}

bool Tickets::end(proto::ReasonCode reason) {
  const TicketId ticket = current_;
  current_ = kNoTicket;
  watched_ = false;
  if (ticket == kNoTicket) {
    if (const auto answer = std::exchange(answer_, nullptr)) answer(reason);
    return false;
  }
  tickets_[ticket].reason = reason;
  done(ticket);
  return true;
}

void Tickets::resume(TicketId ticket) {
  watched_ = ticket != kNoTicket;
  current_ = ticket;
}

void Tickets::end_resumed() {
  const TicketId ticket = current_;
  current_ = kNoTicket;
  watched_ = false;
  done(ticket);
}

void Tickets::end_resumed(proto::ReasonCode reason) {
  if (current_ != kNoTicket) tickets_[current_].reason = reason;
  end_resumed();
}

void Tickets::refused(TicketId id) {
  if (id == kNoTicket) return;
  proto::ReasonCode& reason = tickets_[id].reason;
  if (reason == proto::ReasonCode::no_matching_subscribers) reason = proto::ReasonCode::quota_exceeded;
}

void Tickets::done(TicketId id) {
  if (id == kNoTicket) return;
  Ticket& ticket = tickets_[id];
  if (--ticket.remaining != 0) return;
  const Ticket finished = std::exchange(ticket, {});
  free_.push_back(id);
  if (finished.answer) {
    finished.answer(finished.reason);
    return;
  }
  if (connection::MqttClient* client = clients_.find(finished.client)) {
    client->publish_complete(finished.pending, finished.reason);
  }
}

}  // namespace broker
