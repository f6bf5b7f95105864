// An MQTT client's state machine between a transport of memory and a broker that does as it is told.
//
//   ClientWorld world;
//   TestClient c(world, V5);
//   c.connect();
//   c.send("32 [ 't' 0001 [] \"hi\" ]");                // bytes in the dialect of tests/vectors
//   CHECK(c.received() == Lines{"PUBACK id=1 \"Success\""});  // as proto::describe() prints packets
//   CHECK(world.host.calls == Lines{"publish t \"hi\" qos=1"});
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/packet.h"
#include "tests/support/lines.h"
#include "tests/support/manual_clock.h"
#include "tests/support/messages.h"
#include "worker/connection/mqtt_client.h"

namespace support {

inline constexpr auto V31 = proto::ProtocolVersion::v3_1;
inline constexpr auto V311 = proto::ProtocolVersion::v3_1_1;
inline constexpr auto V5 = proto::ProtocolVersion::v5;

class FakeHost final : public connection::Host {
 public:
  explicit FakeHost(const session::Shared& shared) : shared_(shared) {}

  Lines calls;               // "claim c clean expiry=0", "publish t "hi" qos=1", "closed clean", "close_later ...", ...
  bool claim_waits = false;  // claims are answered by grant() only
  bool publish_waits = false;  // QoS > 0 is answered by MqttClient::publish_complete()
  bool subscribe_waits = false;
  bool pause_on_publish = false;
  std::optional<proto::ReasonCode> refusal;  // of claims
  proto::ReasonCode publish_reason = proto::ReasonCode::success;
  std::vector<uint64_t> pending;  // of PUBLISHes that wait
  std::vector<proto::ReasonCode> unsubscribe_reasons{proto::ReasonCode::success};
  session::Session* session = nullptr;  // of the client that connected last
  std::unique_ptr<session::Will> will;
  int rooms = 0;  // calls of on_client_room()
  std::vector<connection::MqttClient*> deferred;
  uint64_t partial = 0;

  // The session that grant(client, true) gives.
  session::Session& make_session(const std::string& client_id);
  // Answers the claim that waits.
  void grant(connection::MqttClient& client, bool session_present = false);

  void claim(connection::MqttClient& client, const connection::ConnectRequest& request) override;
  connection::PublishOutcome publish(connection::MqttClient& client, const proto::Publish& packet,
                                     std::string_view topic, std::unique_ptr<proto::PacketBuffer> buffer,
                                     uint64_t number) override;
  void subscribe(connection::MqttClient& client, const proto::Subscribe& packet,
                 std::vector<proto::ReasonCode> reasons) override;
  std::vector<proto::ReasonCode> unsubscribe(connection::MqttClient& client, const proto::Unsubscribe& packet) override;
  void on_client_closed(connection::MqttClient& client, Ending ending) override;
  void when_stored(connection::MqttClient&, std::function<void()> then) override { then(); }
  void on_client_room(connection::MqttClient&) override { ++rooms; }
  void close_later(connection::MqttClient& client, proto::ReasonCode reason, const char* what) override;
  void defer(connection::MqttClient& client) override { deferred.push_back(&client); }
  uint64_t& partial_bytes() override { return partial; }

 private:
  const session::Shared& shared_;
  std::vector<std::unique_ptr<session::Session>> sessions_;
  connection::ConnectRequest request_;
};

struct ClientWorld {
  config::Mqtt config;
  ManualClock clock;
  base::TimerWheel wheel{clock.now_ms()};
  base::ChunkPool pool;
  metrics::Page page{};
  session::Shared shared{&config, &clock, metrics::PageRef(&page)};
  FakeHost host{shared};
  connection::ClientContext context;

  ClientWorld();
  void advance(base::MonoMs ms);
  uint64_t count(metrics::Counter counter) const { return shared.page.get(counter); }
};

class TestClient : public connection::ClientTransport {
 public:
  TestClient(ClientWorld& world, proto::ProtocolVersion version);
  ~TestClient() override;

  // CONNECT of client "c"; `properties` and what it leaves out are in the dialect. The CONNACK is left to received().
  void send_connect(std::string_view properties = "", std::string_view flags = "02", uint16_t keep_alive = 0);
  void send_connect(const proto::Connect& packet);
  // The same, and the CONNACK must be a success.
  void connect(std::string_view properties = "", std::string_view flags = "02", uint16_t keep_alive = 0);
  void send(std::string_view dialect) { send_bytes(bytes(dialect)); }
  void send_bytes(std::string_view raw);
  static std::string bytes(std::string_view dialect);

  // The packets since the last call.
  Lines received();
  // Their bytes.
  std::string received_bytes();
  session::Outlet::Sent deliver(const session::Delivery& delivery, uint16_t packet_id = 0, bool dup = false) {
    return client->send_publish(delivery, packet_id, dup);
  }

  bool closed = false;  // by the client
  bool reading = true;
  bool scheduled = false;  // a flush was asked for
  std::unique_ptr<connection::MqttClient> client;

  base::ByteChain& output() override { return output_; }
  void schedule_flush() override { scheduled = true; }
  void set_reading(bool on) override { reading = on; }
  void close() override { closed = true; }
  std::string peer_address() const override { return "127.0.0.1:1"; }

 private:
  const proto::ProtocolVersion version_;
  base::ByteChain output_;
};

}  // namespace support
