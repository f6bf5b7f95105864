// PUBLISH and its acknowledgements, both ways. [MQTT5 3.3 - 3.7, 4.3]
#include "proto/topic.h"
#include "shared/base/check.h"
#include "worker/connection/mqtt_client.h"

namespace connection {

void MqttClient::on_publish(const proto::Frame& frame) {
  proto::Publish packet;
  if (const auto error = proto::decode(frame, version_, packet)) {
    fail(*error);
    return;
  }
  context_.page.add(metrics::Counter::publish_received);
  context_.page.add(metrics::Counter::publish_received_bytes, packet.payload.size());
  if (!packet.properties.subscription_identifiers.empty()) {
    fail({proto::ReasonCode::protocol_error, "PUBLISH with a subscription identifier"});  // [MQTT-3.3.4-6]
    return;
  }
  if (packet.retain && !context_.config->retain_available) {
    if (is_v5()) {
      fail({proto::ReasonCode::retain_not_supported, "retain is not available"});
      return;
    }
    packet.retain = false;
  }
  const std::optional<std::string_view> topic = resolve_alias(packet);
  if (!topic) return;

  if (packet.qos == proto::QoS::exactly_once && session_->has_incoming(packet.packet_id)) {
    // Seen before: not routed again [MQTT-4.3.3-10]; PUBREC again unless the first one is still to come.
    for (size_t i = 0; i < pending_.size(); ++i) {
      if (pending_[i].qos == proto::QoS::exactly_once && pending_[i].packet_id == packet.packet_id) return;
    }
    send_ack(proto::PacketType::pubrec, packet.packet_id, proto::ReasonCode::success);
    return;
  }
  if (is_v5() && packet.qos != proto::QoS::at_most_once && unacked_ >= context_.config->receive_maximum) {
    fail({proto::ReasonCode::receive_maximum_exceeded, "receive maximum exceeded"});  // [MQTT-3.3.4-7]
    return;
  }
  if (!topic_allowed(*topic, packet)) return;
  if (packet.qos == proto::QoS::at_most_once) {
    context_.host->publish(*this, packet, *topic, framer_.take_buffer(), 0);
    return;
  }
  ++unacked_;
  if (packet.qos == proto::QoS::exactly_once) session_->add_incoming(packet.packet_id);
  const uint64_t number = first_pending_ + pending_.size();
  pending_.push_back({packet.packet_id, packet.qos, false, proto::ReasonCode::success});
  const PublishOutcome outcome = context_.host->publish(*this, packet, *topic, framer_.take_buffer(), number);
  if (outcome.complete) publish_complete(number, outcome.reason);
}

// The topic of the packet, its alias resolved or learnt. [MQTT5 3.3.2.3.4]
std::optional<std::string_view> MqttClient::resolve_alias(const proto::Publish& packet) {
  const uint16_t alias = packet.properties.topic_alias;
  if (alias == 0) return packet.topic;
  if (alias > context_.config->topic_alias_max) {
    fail({proto::ReasonCode::topic_alias_invalid, "topic alias above the maximum"});
    return std::nullopt;
  }
  if (!aliases_) aliases_ = std::make_unique<Aliases>();
  auto& inbound = aliases_->inbound;
  if (inbound.size() < alias) inbound.resize(alias);
  if (!packet.topic.empty()) {
    inbound[alias - 1u] = packet.topic;
    return packet.topic;
  }
  if (inbound[alias - 1u].empty()) {
    fail({proto::ReasonCode::protocol_error, "unknown topic alias"});
    return std::nullopt;
  }
  return inbound[alias - 1u];
}

// Limits on topics, and "$SYS", which is the broker's own. False: dealt with.
bool MqttClient::topic_allowed(std::string_view topic, const proto::Publish& packet) {
  const config::Mqtt& config = *context_.config;
  const bool reserved = topic.substr(0, 5) == "$SYS/" || topic == "$SYS";
  const bool too_deep = topic.size() > config.max_topic_length ||
                        (config.max_topic_levels != 0 && topic.size() >= config.max_topic_levels &&
                         proto::level_count(topic) > config.max_topic_levels);
  if (!reserved && !too_deep) return true;
  const auto reason = reserved ? proto::ReasonCode::not_authorized : proto::ReasonCode::topic_name_invalid;
  if (!logged_topic_) log(1, reserved ? "PUBLISH to $SYS ignored" : "PUBLISH topic over the limit");
  logged_topic_ = true;
  if (packet.qos == proto::QoS::at_most_once) {
    if (too_deep) fail({reason, "topic over the limit"});
    return false;
  }
  if (!is_v5() && too_deep) {
    fail({reason, "topic over the limit"});  // MQTT 3.x has no way to say it [MQTT-3.3.5-2]
    return false;
  }
  answer_publish(packet.packet_id, packet.qos, reason);
  return false;
}

// An answer that waits for nothing but its turn.
void MqttClient::answer_publish(uint16_t packet_id, proto::QoS qos, proto::ReasonCode reason) {
  ++unacked_;
  pending_.push_back({packet_id, qos, true, reason, true});
  release_pending();
}

void MqttClient::publish_complete(uint64_t pending, proto::ReasonCode reason) {
  if (state_ != State::connected) return;
  CHECK(pending >= first_pending_ && pending - first_pending_ < pending_.size());
  PendingAck& ack = pending_[pending - first_pending_];
  ack.reason = reason;
  const bool ends = ack.qos == proto::QoS::exactly_once && proto::is_error(reason) && !ack.refused;
  if (!ends || !session_->remove_incoming(ack.packet_id)) return settle(pending);
  ack.refused = true;
  // The client may use the packet id again: it must not come back.
  context_.host->when_stored(*this, [this, pending] { settle(pending); });
}

void MqttClient::publishes_complete(uint64_t first, uint32_t count) {
  if (state_ != State::connected) return;
  CHECK(first >= first_pending_ && first - first_pending_ + count <= pending_.size());
  for (uint32_t i = 0; i < count; ++i) pending_[first - first_pending_ + i].done = true;
  release_pending();
}

void MqttClient::settle(uint64_t pending) {
  if (state_ != State::connected) return;
  pending_[pending - first_pending_].done = true;
  release_pending();
}

void MqttClient::publish_refused(uint64_t pending) {
  if (state_ != State::connected) return;
  CHECK(pending >= first_pending_ && pending - first_pending_ < pending_.size());
  PendingAck& ack = pending_[pending - first_pending_];
  ack.refused = true;
  if (ack.qos == proto::QoS::exactly_once) session_->remove_incoming(ack.packet_id);
}

// PUBACKs and PUBRECs leave in the order of their PUBLISHes.
void MqttClient::release_pending() {
  while (!pending_.empty() && pending_.front().done) {
    const PendingAck ack = pending_.front();
    pending_.pop_front();
    ++first_pending_;
    if (ack.qos == proto::QoS::at_least_once) {
      flow_done();
      send_ack(proto::PacketType::puback, ack.packet_id, ack.reason);
    } else {
      if (ack.refused) flow_done();
      send_ack(proto::PacketType::pubrec, ack.packet_id, ack.reason);
    }
  }
}

// PUBRELs of flows that an earlier connection began do not count, so it may be 0 already. [MQTT5 4.9]
void MqttClient::flow_done() {
  if (unacked_ > 0) --unacked_;
}

void MqttClient::on_ack(const proto::Frame& frame) {
  proto::Ack packet;
  if (const auto error = proto::decode(frame, version_, packet)) {
    fail(*error);
    return;
  }
  switch (frame.type) {
    case proto::PacketType::puback:
      // An unknown packet id is ignored: it may answer a message given up meanwhile (session moved, member left).
      session_->on_puback(packet.packet_id);
      break;
    case proto::PacketType::pubrec:
      if (!session_->on_pubrec(packet.packet_id, is_v5() && proto::is_error(packet.reason)) &&
          !(is_v5() && proto::is_error(packet.reason))) {
        send_ack(proto::PacketType::pubrel, packet.packet_id,
                 is_v5() ? proto::ReasonCode::packet_identifier_not_found : proto::ReasonCode::success);
      }
      break;
    case proto::PacketType::pubcomp:
      session_->on_pubcomp(packet.packet_id);
      break;
    default:
      on_pubrel(packet);
      return;
  }
  context_.host->on_client_room(*this);
}

void MqttClient::on_pubrel(const proto::Ack& packet) {
  const bool known = session_->remove_incoming(packet.packet_id);
  if (known) flow_done();
  const auto reason = known || !is_v5() ? proto::ReasonCode::success : proto::ReasonCode::packet_identifier_not_found;
  // The client may use the packet id again: it must not come back.
  context_.host->when_stored(
      *this, [this, id = packet.packet_id, reason] { send_ack(proto::PacketType::pubcomp, id, reason); });
}

}  // namespace connection
