#include "tests/sim/connection.h"

#include <algorithm>

#include "tests/sim/identity.h"
#include "tests/sim/oracle.h"
#include "tests/sim/settings.h"

namespace sim {

Connection::Connection(uint32_t connection_index, Identity& identity, Process& worker, const Terms& connect_terms,
                       const Context& context)
    : index(connection_index),
      owner(identity),
      process(worker),
      terms(connect_terms),
      context_(context),
      up_(context.settings.socket_capacity),
      down_(context.settings.socket_capacity),
      output_(context.pool),
      up_observer_(proto::kMaxPacketSize),
      down_observer_(proto::kMaxPacketSize),
      inbound_(proto::kMaxPacketSize) {}

std::string Connection::name() const {
  return text(owner.name(), "/k", index, '@', process.name());
}

void Connection::close_by_client(bool lose_unread) {
  client_closed = true;
  lost_early = lose_unread;
  if (lose_unread) up_.clear();
  down_.clear();
  if (!accepted_ && up_.empty()) told_closed = context_.trace.step();
}

void Connection::accept() {
  accepted_ = true;
  accepted_ms = context_.oracle.now_ms();
  client_ = process.broker->open_client(*this);
  process.dirty = true;
}

void Connection::upload() {
  const size_t max = context_.random.one_in(3) ? up_.size() : 1 + context_.random.below(context_.settings.chunk);
  const std::string bytes = up_.take(max);
  context_.trace.mix(bytes.size());
  observe_up(bytes);
  process.dirty = true;
  uploading_ = true;
  client_->on_bytes(bytes);
  uploading_ = false;
}

void Connection::hang_up() {
  context_.trace.line(name(), " is gone, says the kernel");
  told_closed = context_.trace.step();
  context_.oracle.hung_up(*this, !unsettled_.empty());
  connection::Client* client = std::exchange(client_, nullptr);
  client->on_transport_closed();
  output_.clear();
  process.dirty = true;
}

void Connection::move(size_t limit) {
  while (limit > 0 && !output_.empty()) {
    iovec iov[8];
    const int count = output_.gather(0, iov, 8);
    size_t n = 0;
    for (int i = 0; i < count && n < limit; ++i) {
      const size_t piece = std::min(iov[i].iov_len, limit - n);
      const std::string_view bytes(static_cast<const char*>(iov[i].iov_base), piece);
      if (!client_closed) down_.put(bytes);
      observe_down(bytes);
      n += piece;
    }
    output_.drop_front(n);
    limit -= n;
    context_.trace.mix(n);
  }
}

void Connection::pump() {
  if (output_.empty() || (down_.room() == 0 && !client_closed)) return;
  move(client_closed ? output_.size() : down_.room());
  flush_wanted_ = false;
  process.dirty = true;
  if (client_ != nullptr) client_->on_flushed();
}

void Connection::end_of_turn() {
  settle();
  if (client_ != nullptr && flush_wanted_) pump();
}

void Connection::close() {
  if (!process.alive || client_ == nullptr) return;
  closing_ = true;
  move(output_.size());
  closing_ = false;
  if (cut_connack_ && goodbye != proto::ReasonCode::session_taken_over) tell_cut_connack();
  if (cut_connack_) refused = true;
  if (uploading_ && disconnect_handed) settle();  // it was reached, so all before it was looked at
  client_ = nullptr;
  closed_by_broker = context_.trace.step();
  context_.oracle.closed_by_broker(*this, !unsettled_.empty());
}

void Connection::on_worker_death() {
  if (told_closed == kNever) told_closed = context_.trace.step();
  client_ = nullptr;
  output_.clear();
  up_.clear();
  // What the kernel had for the client may be reset away.
  if (context_.random.one_in(2)) down_.truncate(context_.random.below(down_.size() + 1));
}

void Connection::observe_up(std::string_view bytes) {
  proto::Frame frame;
  while (up_observer_.next(bytes, frame) == proto::Framer::Result::frame) on_handed(frame);
}

void Connection::observe_down(std::string_view bytes) {
  proto::Frame frame;
  for (;;) {
    switch (down_observer_.next(bytes, frame)) {
      case proto::Framer::Result::frame:
        on_sent(frame);
        continue;
      case proto::Framer::Result::need_more:
        return;
      case proto::Framer::Result::error:
        return context_.trace.fail(text(name(), " is sent garbage"), {owner.name()});
    }
  }
}

void Connection::on_handed(const proto::Frame& frame) {
  Handed handed{frame.type};
  switch (frame.type) {
    case proto::PacketType::connect:
      connect_handed = context_.trace.step();
      return context_.oracle.connect_handed(*this);
    case proto::PacketType::publish: {
      proto::Publish publish;
      if (decode(frame, terms.version, publish)) return;
      handed.message = context_.oracle.message_handed(*this, publish);
      if (handed.message == 0) return;
      if (publish.qos != proto::QoS::at_most_once) published[publish.packet_id] = handed.message;
      context_.oracle.publish_handed(*this, handed.message);
      break;
    }
    case proto::PacketType::puback:
    case proto::PacketType::pubrec: {
      proto::Ack ack;
      if (decode(frame, terms.version, ack)) return;
      handed.packet_id = ack.packet_id;
      handed.message = owner.acknowledged(*this, ack.packet_id);
      break;
    }
    case proto::PacketType::subscribe: {
      proto::Subscribe subscribe;
      if (decode(frame, terms.version, subscribe)) return;
      Asked& asked = subscribing[subscribe.packet_id];
      for (const proto::SubscribeEntry& entry : subscribe.entries) asked.filters.emplace_back(entry.filter);
      return context_.oracle.subscribe_handed(*this, asked);
    }
    case proto::PacketType::unsubscribe: {
      proto::Unsubscribe unsubscribe;
      if (decode(frame, terms.version, unsubscribe)) return;
      Asked& asked = unsubscribing[unsubscribe.packet_id];
      for (const std::string_view filter : unsubscribe.filters) asked.filters.emplace_back(filter);
      return context_.oracle.unsubscribe_handed(*this, asked);
    }
    case proto::PacketType::disconnect: {
      proto::Disconnect disconnect;
      if (decode(frame, terms.version, disconnect)) return;
      disconnect_handed = disconnect.reason == proto::ReasonCode::normal_disconnection;
      break;
    }
    default:
      return;
  }
  unsettled_.push_back(handed);
}

void Connection::on_sent(const proto::Frame& frame) {
  goodbye.reset();
  context_.trace.line(name(), " <= ", proto::to_string(frame.type));
  if (cut_connack_ && frame.type != proto::PacketType::disconnect) tell_cut_connack();
  switch (frame.type) {
    case proto::PacketType::connack: {
      proto::Connack connack;
      if (decode(frame, terms.version, connack)) return;
      // In one breath with the end, and without a session: it may be there only because the DISCONNECT 0x8E of a
      // connection that was never live must not come without it. What follows it tells.
      const bool may_be_nominal = closing_ && terms.version == proto::ProtocolVersion::v5 && !connack.session_present &&
                                  connack.reason == proto::ReasonCode::success;
      if (may_be_nominal) {
        cut_connack_ = true;
      } else {
        context_.oracle.connack_sent(*this, connack);
      }
      return;
    }
    case proto::PacketType::puback:
    case proto::PacketType::pubrec: {
      proto::Ack ack;
      if (decode(frame, terms.version, ack)) return;
      const auto it = published.find(ack.packet_id);
      if (it != published.end()) context_.oracle.ack_sent(*this, it->second, ack.reason);
      return;
    }
    case proto::PacketType::suback: {
      proto::Suback suback;
      if (decode(frame, terms.version, suback)) return;
      auto node = subscribing.extract(suback.packet_id);
      if (!node.empty()) context_.oracle.suback_sent(*this, node.mapped(), suback);
      return;
    }
    case proto::PacketType::unsuback: {
      proto::Unsuback unsuback;
      if (decode(frame, terms.version, unsuback)) return;
      auto node = unsubscribing.extract(unsuback.packet_id);
      if (!node.empty()) context_.oracle.unsuback_sent(*this, node.mapped());
      return;
    }
    case proto::PacketType::disconnect: {
      proto::Disconnect disconnect;
      if (!decode(frame, terms.version, disconnect)) goodbye = disconnect.reason;
      return;
    }
    default:
      return;
  }
}

// It was live, though for less than a turn.
void Connection::tell_cut_connack() {
  cut_connack_ = false;
  context_.oracle.connack_sent(*this, {});
}

// At the end of a turn in which the worker was reading, everything handed over has been looked at.
void Connection::settle() {
  if (!reading_ || client_ == nullptr || connack_sent == kNever) return;
  for (const Handed& handed : unsettled_) {
    if (handed.type == proto::PacketType::publish) context_.oracle.accepted(*this, handed.message);
    if (handed.type == proto::PacketType::puback || handed.type == proto::PacketType::pubrec) {
      context_.oracle.receipt_acked(*this, handed.message, handed.packet_id);
    }
  }
  unsettled_.clear();
}

}  // namespace sim
