#include "worker/connection/mqtt_client.h"

#include <algorithm>

#include "shared/base/check.h"

namespace connection {
namespace {
// Before CONNECT nobody gets more memory than this. DESIGN section 4.
constexpr uint32_t kMaxConnectPacket = 400 * 1024;
// Bodies of this size and more are assembled in a buffer that the message keeps.
constexpr size_t kLargePacket = 64 * 1024;
// A read this large counts as a sign of life in the middle of a large packet.
constexpr size_t kProgress = 1000;
}  // namespace

MqttClient::MqttClient(ClientContext& context, ClientTransport& transport, uint32_t index, uint32_t generation)
    : context_(context),
      transport_(&transport),
      framer_(std::min(kMaxConnectPacket, context.config->max_packet_size)),
      timer_(*this),
      index_(index),
      generation_(generation) {
  last_packet_ = context_.clock->now_ms();
  if (context_.config->connect_timeout != 0) {
    context_.wheel->arm(timer_, last_packet_ + uint64_t{context_.config->connect_timeout} * 1000);
  }
}

MqttClient::~MqttClient() {
  CHECK(state_ == State::closed);
}

void MqttClient::on_bytes(std::string_view bytes) {
  if (state_ == State::closed) return;
  if (framer_.mid_packet() && bytes.size() >= kProgress) last_packet_ = context_.clock->now_ms();
  if (!unparsed_.empty()) {
    unparsed_.append(bytes);
    account_partial();
    go_on();
  } else {
    parse(bytes);
  }
}

void MqttClient::parse(std::string_view bytes) {
  parsing_ = true;
  bool handled = false;
  while (state_ != State::closed && !must_wait()) {
    proto::Frame frame;
    const proto::Framer::Result result = framer_.next(bytes, frame);
    if (result == proto::Framer::Result::need_more) break;
    if (result == proto::Framer::Result::error) {
      fail({framer_.error(),
            framer_.error() == proto::ReasonCode::packet_too_large ? "packet too large" : "bad fixed header"});
      break;
    }
    context_.page.add(metrics::Counter::packets_received);
    handled = true;
    handle(frame);
    if (context_.budget <= 0 && state_ == State::connected) {
      deferred_ = true;
      context_.host->defer(*this);
    }
    if (state_ != State::closed &&
        transport_->output().size() > context_.config->max_queued_bytes + (uint64_t{1} << 20)) {
      backlogged_ = true;
    }
  }
  parsing_ = false;
  if (state_ == State::closed) return;
  if (handled) last_packet_ = context_.clock->now_ms();
  if (!bytes.empty()) unparsed_.assign(bytes);
  account_partial();
  if (state_ != State::closed) update_reading();
}

void MqttClient::continue_parsing() {
  deferred_ = false;
  go_on();
}

void MqttClient::go_on() {
  if (state_ == State::closed || parsing_ || must_wait()) return;
  if (unparsed_.empty()) {
    update_reading();
    return;
  }
  const std::string bytes = std::move(unparsed_);
  unparsed_ = std::string();
  parse(bytes);
}

void MqttClient::update_reading() {
  const bool want = !must_wait();
  if (want == reading_) return;
  reading_ = want;
  transport_->set_reading(want);
}

void MqttClient::account_partial() {
  const uint64_t now = framer_.buffered() + unparsed_.size();
  uint64_t& total = context_.host->partial_bytes();
  total = total - counted_partial_ + now;
  const bool grew = now > counted_partial_;
  counted_partial_ = now;
  if (grew && total > context_.config->max_partial_bytes)
    close(proto::ReasonCode::quota_exceeded, "too many partly received packets");
}

void MqttClient::handle(const proto::Frame& frame) {
  if (state_ == State::connected) {
    handle_connected(frame);
  } else if (frame.type == proto::PacketType::connect) {
    on_connect(frame);
  } else {
    // [MQTT-3.1.0-1]
    context_.page.add(metrics::Counter::protocol_errors);
    log(1, "first packet is not CONNECT", proto::to_string(frame.type));
    finish(Host::Ending::with_will, true);
  }
}

void MqttClient::handle_connected(const proto::Frame& frame) {
  switch (frame.type) {
    case proto::PacketType::publish:
      on_publish(frame);
      return;
    case proto::PacketType::puback:
    case proto::PacketType::pubrec:
    case proto::PacketType::pubrel:
    case proto::PacketType::pubcomp:
      on_ack(frame);
      return;
    case proto::PacketType::subscribe:
      on_subscribe(frame);
      return;
    case proto::PacketType::unsubscribe:
      on_unsubscribe(frame);
      return;
    case proto::PacketType::pingreq:
      if (const auto error = proto::decode_empty(frame)) {
        fail(*error);
      } else {
        send_packet(proto::Pingresp{});
      }
      return;
    case proto::PacketType::disconnect:
      on_disconnect(frame);
      return;
    case proto::PacketType::connect:
      fail({proto::ReasonCode::protocol_error, "second CONNECT"});  // [MQTT-3.1.0-2]
      return;
    case proto::PacketType::auth:
      on_auth(frame);
      return;
    case proto::PacketType::connack:
    case proto::PacketType::suback:
    case proto::PacketType::unsuback:
    case proto::PacketType::pingresp:
      fail({proto::ReasonCode::protocol_error, "a packet only servers send"});
      return;
  }
  fail({proto::ReasonCode::malformed_packet, "unknown packet type"});
}

// Without an Authentication Method in CONNECT there is nothing to authenticate. [MQTT-4.12.0-1]
void MqttClient::on_auth(const proto::Frame& frame) {
  proto::Auth packet;
  const auto error = proto::decode(frame, version_, packet);
  fail(error ? *error : proto::DecodeError{proto::ReasonCode::protocol_error, "AUTH without an authentication method"});
}

void MqttClient::on_disconnect(const proto::Frame& frame) {
  proto::Disconnect packet;
  if (const auto error = proto::decode(frame, version_, packet)) {
    fail(*error);
    return;
  }
  if (packet.properties.session_expiry_interval) {
    const uint32_t wanted = *packet.properties.session_expiry_interval;
    if (zero_expiry_at_connect_ && wanted != 0) {
      fail({proto::ReasonCode::protocol_error, "DISCONNECT sets a session expiry that CONNECT had as 0"});
      return;
    }
    session_expiry_ = std::min(wanted, context_.config->session_expiry_max);
    session_->expiry_interval = session_expiry_;
  }
  context_.page.add(metrics::Counter::disconnects_clean);
  log(0, "client disconnected");
  // [MQTT-3.14.4-3]: the will is discarded on a normal disconnect only.
  finish(packet.reason == proto::ReasonCode::normal_disconnection ? Host::Ending::clean : Host::Ending::with_will,
         true);
}

void MqttClient::on_flushed() {
  if (state_ == State::closed) return;
  if (backlogged_ && transport_->output().size() <= context_.config->max_queued_bytes / 2) backlogged_ = false;
  // Also behind a claim that was answered later: what came meanwhile is handled once CONNACK is on its way.
  if (!reading_) {
    go_on();
    if (state_ == State::closed) return;
  }
  if (session_ != nullptr) {
    session_->pump();
    context_.host->on_client_room(*this);
  }
}

void MqttClient::on_transport_closed() {
  if (state_ == State::closed) return;
  if (state_ == State::connected) {
    context_.page.add(metrics::Counter::disconnects_unclean);
    log(0, "connection lost");
  }
  finish(Host::Ending::with_will, false);
}

void MqttClient::pause() {
  paused_ = true;
  if (!parsing_ && state_ != State::closed) update_reading();
}

void MqttClient::resume() {
  if (!paused_ || state_ == State::closed) return;
  paused_ = false;
  last_packet_ = context_.clock->now_ms();  // its keep-alive stood still
  go_on();
}

void MqttClient::on_timer(base::TimerNode& node) {
  static_cast<Timer&>(node).client.on_keep_alive();
}

// The timer is armed for the earliest possible expiry; packets only move `last_packet_`.
void MqttClient::on_keep_alive() {
  const base::MonoMs now = context_.clock->now_ms();
  if (state_ != State::connected) {
    log(1, "no CONNECT in time");
    finish(Host::Ending::with_will, true);
    return;
  }
  const uint64_t limit = uint64_t{keep_alive_} * 1500;  // [MQTT-3.1.2-22]
  if (paused_) last_packet_ = now;
  if (now < last_packet_ + limit) {
    context_.wheel->arm(timer_, last_packet_ + limit);
    return;
  }
  context_.page.add(metrics::Counter::keep_alive_timeouts);
  log(1, "keep-alive timeout");
  send_disconnect(proto::ReasonCode::keep_alive_timeout, "keep-alive timeout");
  finish(Host::Ending::with_will, true);
}

void MqttClient::fail(const proto::DecodeError& error) {
  context_.page.add(metrics::Counter::protocol_errors);
  log(1, "protocol error", error.what);
  if (state_ == State::connected) send_disconnect(error.reason, error.what);
  finish(Host::Ending::with_will, true);
}

void MqttClient::close(proto::ReasonCode reason, const char* what) {
  if (state_ == State::closed) return;
  log(1, "closing client", what);
  if (state_ == State::connected) send_disconnect(reason, what);
  finish(Host::Ending::with_will, true);
}

void MqttClient::on_queue_full() {
  context_.host->close_later(*this, proto::ReasonCode::quota_exceeded, "queue full");
}

void MqttClient::on_taken_over() {
  if (state_ == State::closed) return;
  context_.page.add(metrics::Counter::takeovers);
  log(0, "session taken over");
  // With a text: Paho's Python client (1.6) overlooks the reason of a DISCONNECT that is a reason and nothing else.
  send_disconnect(proto::ReasonCode::session_taken_over, "another connection uses this client id");
  finish(Host::Ending::taken_over, true);
}

void MqttClient::finish(Host::Ending ending, bool tell_transport) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  timer_.cancel();
  context_.host->partial_bytes() -= counted_partial_;
  counted_partial_ = 0;
  unparsed_ = std::string();
  context_.host->on_client_closed(*this, ending);
  session_ = nullptr;
  if (tell_transport) transport_->close();
  transport_ = nullptr;
}

void MqttClient::log(int level, std::string_view event, std::string_view detail) const {
  if (context_.log) context_.log(level, event, *this, detail);
}

}  // namespace connection
