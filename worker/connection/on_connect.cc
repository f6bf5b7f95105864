// CONNECT: what can be decided from the packet and the configuration alone. [MQTT5 3.1.4]
#include <algorithm>
#include <cstring>

#include "worker/connection/mqtt_client.h"

namespace connection {
namespace {

constexpr uint16_t kNoKeepAliveLimit = 65535;

// The protocol level of a CONNECT that could not be decoded, if it got that far.
std::optional<uint8_t> peek_level(std::string_view body) {
  if (body.size() >= 7 && body.substr(0, 6) == std::string_view("\0\4MQTT", 6)) return static_cast<uint8_t>(body[6]);
  if (body.size() >= 9 && body.substr(0, 8) == std::string_view("\0\6MQIsdp", 8)) return static_cast<uint8_t>(body[8]);
  return std::nullopt;
}

std::unique_ptr<session::Will> store_will(const proto::Will& packet) {
  auto will = std::make_unique<session::Will>();
  will->topic = packet.topic;
  will->payload = packet.payload;
  will->properties.resize(proto::forwarded_properties_size(packet.properties));
  proto::write_forwarded_properties(packet.properties, will->properties.data());
  will->qos = packet.qos;
  will->retain = packet.retain;
  will->delay = packet.properties.will_delay_interval.value_or(0);
  will->message_expiry = packet.properties.message_expiry_interval;
  return will;
}

}  // namespace

// A CONNECT that is not one: MQTT 5 may be told why [MQTT-3.1.4-1], MQTT 3.x is told of a bad level only.
void MqttClient::refuse_undecodable(const proto::Frame& frame, const proto::DecodeError& error) {
  const std::optional<uint8_t> level = peek_level(frame.body);
  version_ = (level.value_or(0) & 0x7F) >= 5 ? proto::ProtocolVersion::v5 : proto::ProtocolVersion::v3_1_1;
  context_.page.add(metrics::Counter::protocol_errors);
  log(1, "bad CONNECT", error.what);
  const bool bad_level = error.reason == proto::ReasonCode::unsupported_protocol_version;
  if (level && (version_ == proto::ProtocolVersion::v5 || bad_level)) {
    send_connack(error.reason, false, {});
  }
  finish(Host::Ending::with_will, true);
}

void MqttClient::on_connect(const proto::Frame& frame) {
  proto::Connect packet;
  if (const auto error = proto::decode(frame, packet)) {
    refuse_undecodable(frame, *error);
    return;
  }
  version_ = packet.version;
  const config::Mqtt& config = *context_.config;
  const proto::Properties& properties = packet.properties;
  peer_max_packet_ = properties.maximum_packet_size.value_or(proto::kMaxPacketSize);
  peer_receive_maximum_ = properties.receive_maximum.value_or(65535);
  peer_alias_max_ = std::min(properties.topic_alias_maximum.value_or(0), config.topic_alias_max);
  problem_information_ = properties.request_problem_information.value_or(1) != 0;
  client_id_ = packet.client_id;
  if (properties.authentication_method) {
    on_refused(proto::ReasonCode::bad_authentication_method);
    return;
  }
  if (!check_client_id(packet)) return;
  if (packet.will && packet.will->retain && !config.retain_available) {
    on_refused(proto::ReasonCode::retain_not_supported);  // [MQTT-3.2.2-13]
    return;
  }
  if (packet.will) will_ = store_will(*packet.will);

  uint32_t expiry = properties.session_expiry_interval.value_or(0);
  if (!is_v5()) expiry = packet.clean_start ? 0 : 0xFFFFFFFF;
  session_expiry_ = std::min(expiry, config.session_expiry_max);
  expiry_reduced_ = session_expiry_ != expiry;
  zero_expiry_at_connect_ = expiry == 0;

  keep_alive_ = packet.keep_alive;
  if (is_v5() && config.max_keepalive != kNoKeepAliveLimit &&
      (keep_alive_ == 0 || keep_alive_ > config.max_keepalive)) {
    keep_alive_ = config.max_keepalive;
    server_keep_alive_ = true;
  }
  framer_.set_max_packet_size(config.max_packet_size);
  if (context_.make_buffer != nullptr) framer_.set_large_buffers(64 * 1024, context_.make_buffer);

  state_ = State::claiming;
  ConnectRequest request;
  request.client_id = client_id_;
  request.clean_start = packet.clean_start;
  request.session_expiry = session_expiry_;
  context_.host->claim(*this, request);
}

bool MqttClient::check_client_id(const proto::Connect& packet) {
  if (!packet.client_id.empty()) return true;
  const bool allowed = context_.config->allow_zero_length_client_id && version_ != proto::ProtocolVersion::v3_1 &&
                       (is_v5() || packet.clean_start);  // [MQTT-3.1.3-8] of 3.1.1
  if (!allowed) {
    on_refused(proto::ReasonCode::client_identifier_not_valid);
    return false;
  }
  assigned_id_ = true;
  client_id_.clear();  // the broker assigns one with the claim
  return true;
}

void MqttClient::on_session(session::Session& session, bool session_present) {
  session_ = &session;
  client_id_ = session.client_id();
  state_ = State::connected;
  const config::Mqtt& config = *context_.config;
  proto::Properties properties;
  if (is_v5()) {
    if (expiry_reduced_) properties.session_expiry_interval = session_expiry_;
    if (config.receive_maximum != 65535) properties.receive_maximum = config.receive_maximum;
    if (!config.retain_available) properties.retain_available = 0;
    if (config.max_packet_size < proto::kMaxPacketSize) properties.maximum_packet_size = config.max_packet_size;
    if (assigned_id_) properties.assigned_client_identifier = client_id_;
    if (config.topic_alias_max != 0) properties.topic_alias_maximum = config.topic_alias_max;
    if (server_keep_alive_) properties.server_keep_alive = keep_alive_;
  }
  send_connack(proto::ReasonCode::success, session_present, properties);
  context_.page.add(metrics::Counter::connects_accepted);
  log(0, "client connected");
  timer_.cancel();
  last_packet_ = context_.clock->now_ms();
  if (keep_alive_ != 0) context_.wheel->arm(timer_, last_packet_ + uint64_t{keep_alive_} * 1500);
}

void MqttClient::on_refused(proto::ReasonCode reason) {
  if (state_ == State::closed) return;
  context_.page.add(metrics::Counter::connects_refused);
  log(1, "CONNECT refused", proto::to_string(reason));
  send_connack(reason, false, {});
  finish(Host::Ending::with_will, true);
}

void MqttClient::on_superseded() {
  if (state_ == State::closed) return;
  context_.page.add(metrics::Counter::takeovers);
  log(0, "superseded by a newer CONNECT");
  if (is_v5()) {
    // A DISCONNECT may only follow a successful CONNACK. [MQTT-3.2.0-1]
    send_connack(proto::ReasonCode::success, false, {});
    state_ = State::connected;
    send_disconnect(proto::ReasonCode::session_taken_over, "another connection uses this client id");
  }
  finish(Host::Ending::taken_over, true);
}

}  // namespace connection
