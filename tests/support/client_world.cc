#include "tests/support/client_world.h"

#include <cstdio>
#include <variant>

#include "proto/codec.h"
#include "proto/print.h"
#include "tests/vectors/vector_file.h"

namespace support {

void FakeHost::claim(connection::MqttClient& client, const connection::ConnectRequest& request) {
  calls.push_back("claim " + request.client_id + (request.clean_start ? " clean" : "") +
                  " expiry=" + std::to_string(request.session_expiry));
  request_ = request;
  if (refusal) {
    client.on_refused(*refusal);
  } else if (!claim_waits) {
    grant(client);
  }
}

session::Session& FakeHost::make_session(const std::string& client_id) {
  session = sessions_.emplace_back(std::make_unique<session::Session>(shared_, client_id, 0)).get();
  return *session;
}

void FakeHost::grant(connection::MqttClient& client, bool session_present) {
  if (!session_present) make_session(request_.client_id.empty() ? "assigned" : request_.client_id);
  session->expiry_interval = request_.session_expiry;
  will = client.take_will();
  client.on_session(*session, session_present);
  session->attach(client);
}

connection::PublishOutcome FakeHost::publish(connection::MqttClient& client, const proto::Publish& packet,
                                             std::string_view topic, std::unique_ptr<proto::PacketBuffer>,
                                             uint64_t number) {
  calls.push_back("publish " + std::string(topic) + " \"" + std::string(packet.payload.substr(0, 40)) +
                  "\" qos=" + std::to_string(static_cast<int>(packet.qos)) + (packet.retain ? " retain" : ""));
  if (pause_on_publish) client.pause();
  if (packet.qos == proto::QoS::at_most_once || !publish_waits) return {true, publish_reason};
  pending.push_back(number);
  return {false, {}};
}

void FakeHost::subscribe(connection::MqttClient& client, const proto::Subscribe& packet,
                         std::vector<proto::ReasonCode> reasons) {
  std::string line = "subscribe";
  for (const proto::SubscribeEntry& entry : packet.entries) line += " " + std::string(entry.filter);
  calls.push_back(line);
  if (!subscribe_waits) client.subscribe_complete(packet.packet_id, std::move(reasons));
}

std::vector<proto::ReasonCode> FakeHost::unsubscribe(connection::MqttClient&, const proto::Unsubscribe& packet) {
  std::string line = "unsubscribe";
  for (const std::string_view filter : packet.filters) line += " " + std::string(filter);
  calls.push_back(line);
  return unsubscribe_reasons;
}

void FakeHost::on_client_closed(connection::MqttClient& client, Ending ending) {
  const char* names[] = {"clean", "with will", "taken over"};
  calls.push_back(std::string("closed ") + names[static_cast<int>(ending)]);
  if (client.session() != nullptr) client.session()->detach();
}

void FakeHost::close_later(connection::MqttClient&, proto::ReasonCode reason, const char* what) {
  calls.push_back("close_later \"" + std::string(proto::to_string(reason)) + "\" " + what);
}

ClientWorld::ClientWorld() {
  context.config = &config;
  context.clock = &clock;
  context.wheel = &wheel;
  context.page = metrics::PageRef(&page);
  context.host = &host;
}

void ClientWorld::advance(base::MonoMs ms) {
  clock.advance(ms);
  wheel.advance(clock.now_ms());
}

TestClient::TestClient(ClientWorld& world, proto::ProtocolVersion version)
    : client(std::make_unique<connection::MqttClient>(world.context, *this, 0, 1)),
      version_(version),
      output_(world.pool) {}

TestClient::~TestClient() {
  client->on_transport_closed();
}

// From a copy that is gone at once, so that keeping a view of it shows under ASan.
void TestClient::send_bytes(std::string_view raw) {
  const std::vector<char> copy(raw.begin(), raw.end());
  client->on_bytes({copy.data(), copy.size()});
}

std::string TestClient::bytes(std::string_view dialect) {
  return vectors::bytes(dialect);
}

void TestClient::send_connect(std::string_view properties, std::string_view flags, uint16_t keep_alive) {
  const char* heads[] = {"'MQIsdp' 03 ", "'MQTT' 04 ", "'MQTT' 05 "};
  char seconds[8];
  std::snprintf(seconds, sizeof seconds, " %04x ", keep_alive);
  std::string text = "10 [ ";
  text += heads[static_cast<int>(version_) - 3];
  text += flags;
  text += seconds;
  if (version_ == V5) text += "[ " + std::string(properties) + " ]";
  send(text + " 'c' ]");
}

void TestClient::send_connect(const proto::Connect& packet) {
  std::string raw;
  proto::encode(packet, raw);
  send_bytes(raw);
}

void TestClient::connect(std::string_view properties, std::string_view flags, uint16_t keep_alive) {
  send_connect(properties, flags, keep_alive);
  const Lines answer = received();
  REQUIRE(answer.size() == 1);
  REQUIRE_MESSAGE(answer[0].find("\"Success\"") != std::string::npos, answer[0]);
}

std::string TestClient::received_bytes() {
  std::string raw;
  iovec pieces[16];
  while (!output_.empty()) {
    const int count = output_.gather(0, pieces, 16);
    size_t taken = 0;
    for (int i = 0; i < count; ++i) {
      raw.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      taken += pieces[i].iov_len;
    }
    output_.drop_front(taken);
    if (!closed) client->on_flushed();
  }
  return raw;
}

Lines TestClient::received() {
  Lines lines;
  const std::string raw = received_bytes();
  std::string_view input = raw;
  proto::Framer framer(proto::kMaxPacketSize);
  proto::Frame frame;
  while (framer.next(input, frame) == proto::Framer::Result::frame) {
    const auto packet = proto::decode_any(frame, version_);
    const auto* error = std::get_if<proto::DecodeError>(&packet);
    lines.push_back(error != nullptr ? std::string("not a packet: ") + error->what
                                     : proto::describe(std::get<proto::Packet>(packet)));
  }
  REQUIRE_FALSE(framer.mid_packet());
  return lines;
}

}  // namespace support
