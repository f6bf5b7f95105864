// The MQTT state machine of one client connection. [MQTT5 3, 4]
//
//   accepted ──CONNECT──> claiming ──on_session──> connected ──DISCONNECT, error, end──> closed
//      │ anything else        │ superseded, refused          │ taken over
//      └──────────────────────┴──────────────────────────────┴──> closed
//
// While claiming, and while the broker has no room for more of this client's messages, bytes wait: reading stops, and
// what was read already is kept in `unparsed_`.
//
// Split by packet: on_connect.cc, on_publish.cc, on_subscribe.cc, output.cc, mqtt_client.cc (the rest).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proto/codec.h"
#include "proto/framer.h"
#include "shared/base/ring.h"
#include "shared/base/timer_wheel.h"
#include "worker/connection/client.h"
#include "worker/connection/host.h"
#include "worker/connection/transport.h"
#include "worker/session/session.h"

namespace connection {

class MqttClient final : public Client, public session::Outlet {
 public:
  // `index` and `generation` name the client for those who may outlive it.
  MqttClient(ClientContext& context, ClientTransport& transport, uint32_t index, uint32_t generation);
  ~MqttClient() override;
  MqttClient(const MqttClient&) = delete;
  MqttClient& operator=(const MqttClient&) = delete;

  uint32_t index() const { return index_; }
  uint32_t generation() const { return generation_; }
  proto::ProtocolVersion version() const { return version_; }
  bool is_v5() const { return version_ == proto::ProtocolVersion::v5; }
  bool closed() const { return state_ == State::closed; }
  bool connected() const { return state_ == State::connected; }
  const std::string& client_id() const { return client_id_; }
  std::string peer_address() const { return transport_ != nullptr ? transport_->peer_address() : std::string(); }
  session::Session* session() const { return session_; }
  ClientTransport& transport() { return *transport_; }
  // The broker's number of this client's claim, 0 = none.
  uint64_t claim_number = 0;
  // Messages of this client that wait for the store before they are routed.
  uint32_t accepting = 0;

  // --- from the carrier ---
  void on_bytes(std::string_view bytes) override;
  void on_flushed() override;
  void on_transport_closed() override;

  // --- from the broker ---
  // The claim succeeded: the session is this client's. Sends CONNACK; the broker then calls session.attach(*this).
  void on_session(session::Session& session, bool session_present);
  // What the will and expiry of this connection are: taken by the broker when it sets up the session.
  std::unique_ptr<session::Will> take_will() { return std::move(will_); }
  uint32_t session_expiry() const { return session_expiry_; }
  // The claim failed: CONNACK with an error, close.
  void on_refused(proto::ReasonCode reason);
  // A newer CONNECT with this client id won before this one was answered.
  void on_superseded();
  void publish_complete(uint64_t pending, proto::ReasonCode reason);
  // The same for `count` of them from `first` on, without an error.
  void publishes_complete(uint64_t first, uint32_t count);
  // It is not taken, whenever and however its client is told: under this packet id it is new when it comes again.
  void publish_refused(uint64_t pending);
  void subscribe_complete(uint16_t packet_id, std::vector<proto::ReasonCode> reasons);
  // Back-pressure: no more of this client's packets are handled until resume(). Its keep-alive stands still.
  void pause();
  void resume();
  bool paused() const { return paused_; }
  // A new turn, a new budget.
  void continue_parsing();
  // The same at the end of the turn, from inside a delivery or an answer.
  void close_later(proto::ReasonCode reason, const char* what) { context_.host->close_later(*this, reason, what); }
  // Says why (MQTT 5) and closes.
  void close(proto::ReasonCode reason, const char* what);

  // --- session::Outlet ---
  size_t backlog() const override;
  uint16_t receive_maximum() const override { return peer_receive_maximum_; }
  Sent send_publish(const session::Delivery& delivery, uint16_t packet_id, bool dup) override;
  Sent send_unkept(const bus::Message::Fields& message, uint32_t subscription) override;
  void send_pubrel(uint16_t packet_id) override;
  void on_queue_full() override;
  void on_taken_over() override;

 private:
  enum class State : uint8_t { accepted, claiming, connected, closed };
  // The answer to a QoS 1 or 2 PUBLISH, in the order of the PUBLISH packets. [MQTT-4.6.0-2], [MQTT-4.6.0-3]
  struct PendingAck {
    uint16_t packet_id = 0;
    proto::QoS qos = proto::QoS::at_least_once;
    bool done = false;
    proto::ReasonCode reason = proto::ReasonCode::success;
    bool refused = false;  // QoS 2: its packet id is free
  };
  struct TopicHash {  // looks a string_view up without making a string of it
    using is_transparent = void;
    size_t operator()(std::string_view topic) const { return std::hash<std::string_view>()(topic); }
  };
  struct Aliases {
    std::vector<std::string> inbound;  // index = alias - 1
    std::unordered_map<std::string, uint16_t, TopicHash, std::equal_to<>> outbound;
  };

  // Handles complete packets in `bytes` until it is empty or the client must wait; the rest goes to unparsed_.
  void parse(std::string_view bytes);
  bool must_wait() const { return state_ == State::claiming || paused_ || backlogged_ || deferred_; }
  void handle(const proto::Frame& frame);
  void handle_connected(const proto::Frame& frame);
  void account_partial();
  void go_on();
  void update_reading();

  void on_connect(const proto::Frame& frame);
  bool check_client_id(const proto::Connect& packet);
  void refuse_undecodable(const proto::Frame& frame, const proto::DecodeError& error);
  void on_publish(const proto::Frame& frame);
  std::optional<std::string_view> resolve_alias(const proto::Publish& packet);
  bool topic_allowed(std::string_view topic, const proto::Publish& packet);
  void answer_publish(uint16_t packet_id, proto::QoS qos, proto::ReasonCode reason);
  void settle(uint64_t pending);
  void release_pending();
  void flow_done();
  void on_ack(const proto::Frame& frame);
  void on_pubrel(const proto::Ack& packet);
  void on_subscribe(const proto::Frame& frame);
  proto::ReasonCode check_entry(const proto::SubscribeEntry& entry) const;
  void on_unsubscribe(const proto::Frame& frame);
  void on_auth(const proto::Frame& frame);
  void on_disconnect(const proto::Frame& frame);

  // What a PUBLISH takes from its message; `buffer` is set if its payload is to be referenced.
  struct Content {
    std::string_view topic;
    std::string_view properties;
    std::string_view payload;
    base::MonoMs expires_at = 0;
    const base::BufferRef* buffer = nullptr;
  };
  // Completes `head` and appends the packet. Returns its first piece: all of it, but for a payload that is referenced;
  // empty: it is too large.
  std::string_view write_publish(proto::PublishHead& head, const Content& content);
  uint16_t use_alias(proto::PublishHead& head);
  inline void count_publish(size_t payload);
  void send_ack(proto::PacketType type, uint16_t packet_id, proto::ReasonCode reason);
  template <typename P>
  void send_packet(const P& packet);
  void send_connack(proto::ReasonCode reason, bool session_present, const proto::Properties& properties);
  void send_disconnect(proto::ReasonCode reason, const char* what);
  // The one close path.
  void finish(Host::Ending ending, bool tell_transport);
  void fail(const proto::DecodeError& error);
  void log(int level, std::string_view event, std::string_view detail = {}) const;

  static void on_timer(base::TimerNode& node);
  void on_keep_alive();

  struct Timer : base::TimerNode {
    explicit Timer(MqttClient& c) : TimerNode(&MqttClient::on_timer), client(c) {}
    MqttClient& client;
  };

  ClientContext& context_;
  ClientTransport* transport_;
  session::Session* session_ = nullptr;
  proto::Framer framer_;
  Timer timer_;
  base::MonoMs last_packet_ = 0;
  uint64_t counted_partial_ = 0;
  std::string unparsed_;
  std::string client_id_;
  std::unique_ptr<session::Will> will_;
  std::unique_ptr<Aliases> aliases_;
  base::Ring<PendingAck> pending_;
  uint64_t first_pending_ = 0;  // number of pending_.front()
  uint32_t index_;
  uint32_t generation_;
  uint32_t session_expiry_ = 0;
  uint32_t peer_max_packet_ = proto::kMaxPacketSize;
  uint16_t unacked_ = 0;     // QoS 1 and 2 PUBLISHes of this connection whose flow is not complete
  uint16_t keep_alive_ = 0;  // seconds
  uint16_t peer_receive_maximum_ = 65535;
  uint16_t peer_alias_max_ = 0;
  State state_ = State::accepted;
  proto::ProtocolVersion version_ = proto::ProtocolVersion::v3_1_1;
  bool paused_ = false;
  bool deferred_ = false;    // the turn's budget is used up
  bool backlogged_ = false;  // the client does not read our answers
  bool reading_ = true;
  bool parsing_ = false;
  bool problem_information_ = true;
  bool zero_expiry_at_connect_ = true;
  bool assigned_id_ = false;
  bool logged_topic_ = false;  // a refused topic is logged once a connection
  bool server_keep_alive_ = false;
  bool expiry_reduced_ = false;
};

}  // namespace connection
