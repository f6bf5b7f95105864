// SUBSCRIBE and UNSUBSCRIBE: what can be checked without the broker. [MQTT5 3.8 - 3.11]
#include "proto/topic.h"
#include "worker/connection/mqtt_client.h"

namespace connection {

void MqttClient::on_subscribe(const proto::Frame& frame) {
  proto::Subscribe packet;
  if (const auto error = proto::decode(frame, version_, packet)) {
    fail(*error);
    return;
  }
  std::vector<proto::ReasonCode> reasons;
  reasons.reserve(packet.entries.size());
  for (const proto::SubscribeEntry& entry : packet.entries) {
    reasons.push_back(check_entry(entry));
  }
  context_.host->subscribe(*this, packet, std::move(reasons));
}

proto::ReasonCode MqttClient::check_entry(const proto::SubscribeEntry& entry) const {
  const config::Mqtt& config = *context_.config;
  std::string_view filter = entry.filter;
  if (const auto shared = proto::parse_shared_filter(filter)) {
    if (shared->filter.empty()) return proto::ReasonCode::topic_filter_invalid;
    filter = shared->filter;
  }
  if (!proto::is_valid_topic_filter(filter)) return proto::ReasonCode::topic_filter_invalid;
  if (filter.size() > config.max_topic_length) return proto::ReasonCode::topic_filter_invalid;
  if (config.max_topic_levels != 0 && proto::level_count(filter) > config.max_topic_levels) {
    return proto::ReasonCode::topic_filter_invalid;
  }
  return static_cast<proto::ReasonCode>(entry.qos);  // granted as asked
}

void MqttClient::subscribe_complete(uint16_t packet_id, std::vector<proto::ReasonCode> reasons) {
  if (state_ != State::connected) return;
  proto::Suback packet;
  packet.packet_id = packet_id;
  packet.reasons = std::move(reasons);
  send_packet(packet);
}

void MqttClient::on_unsubscribe(const proto::Frame& frame) {
  proto::Unsubscribe packet;
  if (const auto error = proto::decode(frame, version_, packet)) {
    fail(*error);
    return;
  }
  proto::Unsuback answer;
  answer.packet_id = packet.packet_id;
  answer.reasons = context_.host->unsubscribe(*this, packet);
  context_.host->when_stored(*this, [this, unsuback = std::move(answer)] { send_packet(unsuback); });
}

}  // namespace connection
