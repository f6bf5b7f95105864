// The client's half of the session: what it answers to what it hears. [MQTT5 4.3, 4.4]
#include <algorithm>

#include "tests/sim/clients.h"
#include "tests/sim/identity.h"

namespace sim {

void Identity::handle(Connection& connection, const proto::Frame& frame) {
  if (connection.refused) return;  // what comes with the refusal is not looked at
  const proto::ProtocolVersion version = profile_.version;
  bool bad = false;
  switch (frame.type) {
    case proto::PacketType::connack: {
      proto::Connack connack;
      bad = decode(frame, version, connack).has_value();
      if (!bad) on_connack(connection, connack);
      break;
    }
    case proto::PacketType::publish: {
      proto::Publish publish;
      bad = decode(frame, version, publish).has_value();
      if (!bad) on_publish(connection, publish);
      break;
    }
    case proto::PacketType::puback:
    case proto::PacketType::pubrec:
    case proto::PacketType::pubrel:
    case proto::PacketType::pubcomp: {
      proto::Ack ack;
      bad = decode(frame, version, ack).has_value();
      if (!bad) on_ack(connection, frame.type, ack);
      break;
    }
    case proto::PacketType::suback:
    case proto::PacketType::unsuback:
    case proto::PacketType::disconnect:
    case proto::PacketType::pingresp:
      break;
    case proto::PacketType::connect:
    case proto::PacketType::subscribe:
    case proto::PacketType::unsubscribe:
    case proto::PacketType::pingreq:
    case proto::PacketType::auth:
      bad = true;
      break;
  }
  if (bad) clients_.trace.fail(text(connection.name(), " received a bad ", proto::to_string(frame.type)), {name()});
}

void Identity::on_connack(Connection& connection, const proto::Connack& connack) {
  clients_.trace.line(connection.name(), " received CONNACK", connack.session_present ? " with session" : "");
  connection.connack_seen = true;
  if (current_ != nullptr && current_->connack_number > connection.connack_number) return drop(connection, true);
  // The application works with the newest connection; of the older ones it reads nothing more.
  const std::vector<Connection*> others(open_.begin(), open_.end());
  for (Connection* other : others) {
    if (other != &connection && other->connack_number < connection.connack_number) drop(*other, true);
  }
  current_ = &connection;
  // Another of its connections may have begun a new session in between, and its CONNACK come later than this one.
  if (!connack.session_present || connection.session != session_) {
    out_.clear();
    incoming_.clear();
  }
  session_ = connection.session;
  for (const Outgoing& outgoing : out_) {
    if (outgoing.released) {
      send_release(connection, outgoing.packet_id);
    } else {
      send_publish(connection, outgoing, true);
    }
  }
}

void Identity::on_publish(Connection& connection, const proto::Publish& publish) {
  clients_.trace.line(connection.name(), " received PUBLISH ", publish.payload.substr(0, publish.payload.find('.') + 1),
                      ' ', publish.topic, " qos ", static_cast<int>(publish.qos), " id ", publish.packet_id,
                      publish.dup ? " dup" : "", publish.retain ? " retain" : "");
  if (publish.retain) retained_seen_[std::string(publish.topic)] = std::string(publish.payload);
  if (publish.qos == proto::QoS::at_most_once) return clients_.oracle.received(connection, publish);
  const MessageId id = clients_.oracle.message_of(publish);
  const auto fail = [&](const std::string& what) {
    clients_.trace.fail(text(connection.name(), ' ', what, " (packet id ", publish.packet_id, ')'), {name()});
  };
  if (connection.arrived.contains(publish.packet_id)) return fail("got a packet id that is in use");
  connection.arrived[publish.packet_id] = id;
  const uint16_t limit = connection.terms.receive_maximum;
  if (limit != 0 && connection.arrived.size() > limit) return fail("got more than its Receive Maximum");
  if (publish.qos == proto::QoS::at_least_once) {
    owe(connection, proto::PacketType::puback, publish.packet_id, true);
    return clients_.oracle.received(connection, publish);
  }
  owe(connection, proto::PacketType::pubrec, publish.packet_id, false);
  const auto known = incoming_.find(publish.packet_id);
  if (known == incoming_.end()) {
    incoming_[publish.packet_id] = id;
    return clients_.oracle.received(connection, publish);
  }
  // Its PUBREC was lost on an earlier connection.
  if (known->second != id) return fail("got another message under a QoS 2 packet id that it has not released");
  if (!publish.dup) return fail("got a QoS 2 message again without DUP");
  clients_.oracle.received_again(connection, id, publish.packet_id);
}

void Identity::on_ack(Connection& connection, proto::PacketType type, const proto::Ack& ack) {
  clients_.trace.line(connection.name(), " received ", proto::to_string(type), " id ", ack.packet_id);
  if (type == proto::PacketType::pubrel) {
    incoming_.erase(ack.packet_id);
    return owe(connection, proto::PacketType::pubcomp, ack.packet_id, true);
  }
  const auto it =
      std::find_if(out_.begin(), out_.end(), [&ack](const Outgoing& o) { return o.packet_id == ack.packet_id; });
  if (it == out_.end()) return;
  if (type == proto::PacketType::pubrec && !is_error(ack.reason)) {
    it->released = true;
    return send_release(connection, ack.packet_id);
  }
  out_.erase(it);
}

void Identity::owe(Connection& connection, proto::PacketType type, uint16_t packet_id, bool finishes) {
  char bytes[8];
  char* end = proto::write_ack(type, profile_.version, packet_id, proto::ReasonCode::success, bytes);
  owed_acks_.push_back({connection.index, std::string(bytes, static_cast<size_t>(end - bytes)), packet_id, finishes});
}

bool Identity::owes_acks(const Connection& connection) const {
  return std::any_of(owed_acks_.begin(), owed_acks_.end(),
                     [&connection](const OwedAck& ack) { return ack.connection == connection.index; });
}

void Identity::acknowledge(Connection& connection) {
  const auto it = std::find_if(owed_acks_.begin(), owed_acks_.end(),
                               [&connection](const OwedAck& ack) { return ack.connection == connection.index; });
  connection.write(it->bytes);
  const auto arrived = connection.arrived.find(it->packet_id);
  if (arrived != connection.arrived.end()) {
    answered_[{connection.index, it->packet_id}] = arrived->second;
    if (it->finishes) connection.arrived.erase(arrived);
  }
  owed_acks_.erase(it);
}

MessageId Identity::acknowledged(const Connection& connection, uint16_t packet_id) const {
  const auto it = answered_.find({connection.index, packet_id});
  return it == answered_.end() ? 0 : it->second;
}

}  // namespace sim
