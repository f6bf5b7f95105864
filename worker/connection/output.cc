// Everything a client is sent. PUBLISH is the hot path: one contiguous piece per message, payloads of some size by
// reference, and at QoS 0 one encoding for all receivers of a version.
#include <cstring>

#include "worker/connection/mqtt_client.h"

namespace connection {

size_t MqttClient::backlog() const {
  return transport_ == nullptr ? 0 : transport_->output().size();
}

std::string_view MqttClient::write_publish(proto::PublishHead& head, const Content& content) {
  head.version = version_;
  head.topic = content.topic;
  head.payload_size = content.payload.size();
  uint16_t new_alias = 0;
  if (is_v5()) {
    head.forwarded_properties = content.properties;
    if (content.expires_at != 0) {
      const base::MonoMs now = context_.clock->now_ms();
      // What is left, rounded up so that it never reads 0 for a message still alive. [MQTT-3.3.2-6]
      head.message_expiry_interval =
          content.expires_at > now ? static_cast<uint32_t>((content.expires_at - now + 999) / 1000) : 0;
    }
    if (peer_alias_max_ != 0) new_alias = use_alias(head);
  }
  const proto::PublishSize size = proto::publish_size(head);
  if (size.total > peer_max_packet_ || size.total > proto::kMaxPacketSize) return {};
  if (new_alias != 0) aliases_->outbound.emplace(content.topic, new_alias);
  base::ByteChain& out = transport_->output();
  if (content.buffer != nullptr) {
    char* place = out.append(size.head);
    proto::write_publish_head(head, place);
    out.append_ref(*content.buffer, content.payload);
    return {place, size.head};
  }
  char* place = out.append(size.total);
  char* end = proto::write_publish_head(head, place);
  if (!content.payload.empty()) std::memcpy(end, content.payload.data(), content.payload.size());
  return {place, size.total};
}

inline void MqttClient::count_publish(size_t payload) {
  transport_->schedule_flush();
  --context_.budget;
  context_.page.add(metrics::Counter::packets_sent);
  context_.page.add(metrics::Counter::publish_sent);
  context_.page.add(metrics::Counter::publish_sent_bytes, payload);
}

session::Outlet::Sent MqttClient::send_publish(const session::Delivery& delivery, uint16_t packet_id, bool dup) {
  const bus::Message& m = *delivery.message;
  const bool plain = delivery.qos == proto::QoS::at_most_once && delivery.ids.empty() && m.expires_at() == 0 &&
                     peer_alias_max_ == 0 && !m.payload_buffer();
  EncodeCache& cache = context_.encoded;
  const bool again = plain && cache.message.get() == &m && cache.version == version_ && cache.retain == delivery.retain;
  if (again && !cache.bytes.empty()) {
    if (cache.bytes.size() > peer_max_packet_) return Sent::too_large;
    transport_->output().append(cache.bytes);
  } else {
    proto::PublishHead head;
    head.dup = dup;
    head.qos = delivery.qos;
    head.retain = delivery.retain;
    head.packet_id = packet_id;
    head.subscription_identifiers = delivery.ids.data();
    head.subscription_identifier_count = delivery.ids.size();
    const Content content{m.topic(), m.properties(), m.payload(), m.expires_at(),
                          m.payload_buffer() ? &m.payload_buffer() : nullptr};
    const std::string_view packet = write_publish(head, content);
    if (packet.empty()) return Sent::too_large;
    if (again) {  // there are others, most likely
      cache.bytes = packet;
    } else if (plain) {
      cache.message = delivery.message;
      cache.version = version_;
      cache.retain = delivery.retain;
      cache.bytes.clear();
    }
  }
  count_publish(m.payload().size());
  return Sent::yes;
}

session::Outlet::Sent MqttClient::send_unkept(const bus::Message::Fields& message, uint32_t subscription) {
  proto::PublishHead head;
  head.subscription_identifiers = &subscription;
  head.subscription_identifier_count = subscription == 0 ? 0 : 1;
  if (write_publish(head, {message.topic, message.properties, message.payload, message.expires_at}).empty()) {
    return Sent::too_large;
  }
  count_publish(message.payload.size());
  return Sent::yes;
}

// Puts the topic's alias into the head. Returns it if it is new: then the topic goes along.
uint16_t MqttClient::use_alias(proto::PublishHead& head) {
  if (!aliases_) aliases_ = std::make_unique<Aliases>();
  const auto& outbound = aliases_->outbound;
  if (const auto known = outbound.find(head.topic); known != outbound.end()) {
    head.topic_alias = known->second;
    head.topic = {};
    return 0;
  }
  if (outbound.size() >= peer_alias_max_) return 0;
  head.topic_alias = static_cast<uint16_t>(outbound.size() + 1);
  return head.topic_alias;
}

void MqttClient::send_pubrel(uint16_t packet_id) {
  send_ack(proto::PacketType::pubrel, packet_id, proto::ReasonCode::success);
}

void MqttClient::send_ack(proto::PacketType type, uint16_t packet_id, proto::ReasonCode reason) {
  char buffer[8];
  const char* end = proto::write_ack(type, version_, packet_id, reason, buffer);
  transport_->output().append({buffer, static_cast<size_t>(end - buffer)});
  transport_->schedule_flush();
  context_.page.add(metrics::Counter::packets_sent);
}

template <typename P>
void MqttClient::send_packet(const P& packet) {
  std::string bytes;
  proto::encode(packet, version_, bytes);
  if (bytes.size() > peer_max_packet_) {  // [MQTT-3.1.2-24]
    context_.host->close_later(*this, proto::ReasonCode::packet_too_large,
                               "an answer is larger than the client's maximum packet size");
    return;
  }
  transport_->output().append(bytes);
  transport_->schedule_flush();
  context_.page.add(metrics::Counter::packets_sent);
}
template void MqttClient::send_packet(const proto::Pingresp&);
template void MqttClient::send_packet(const proto::Suback&);
template void MqttClient::send_packet(const proto::Unsuback&);

void MqttClient::send_connack(proto::ReasonCode reason, bool session_present, const proto::Properties& properties) {
  proto::Connack packet;
  packet.reason = reason;
  packet.session_present = session_present;
  packet.properties = properties;
  send_packet(packet);
}

// MQTT 5 only [MQTT-3.14.0-1]; the reason string is left out when the client does not want it or has no room for it.
void MqttClient::send_disconnect(proto::ReasonCode reason, const char* what) {
  if (!is_v5() || state_ != State::connected) return;
  proto::Disconnect packet;
  packet.reason = reason;
  if (problem_information_ && *what != '\0') packet.properties.reason_string = what;
  std::string bytes;
  proto::encode(packet, version_, bytes);
  if (bytes.size() > peer_max_packet_) {
    packet.properties.reason_string.reset();
    bytes.clear();
    proto::encode(packet, version_, bytes);
    if (bytes.size() > peer_max_packet_) return;
  }
  transport_->output().append(bytes);
  transport_->schedule_flush();
  context_.page.add(metrics::Counter::packets_sent);
}

}  // namespace connection
