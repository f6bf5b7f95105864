#include "tests/sim/identity.h"

#include <algorithm>

#include "tests/sim/clients.h"

namespace sim {
namespace {
constexpr size_t kReceiveMaximum = 20;  // the broker's
}  // namespace

Identity::Identity(uint32_t identity_index, const Profile& profile, Clients& clients)
    : index(identity_index), profile_(profile), clients_(clients) {}

Connection& Identity::connect(Process& process, const ConnectOptions& options) {
  Connection::Terms terms;
  terms.version = profile_.version;
  const bool v5 = terms.version == proto::ProtocolVersion::v5;
  terms.persistent = options.persistent;
  terms.clean_start = v5 ? options.clean_start : !options.persistent;
  terms.receive_maximum = v5 ? profile_.receive_maximum : uint16_t{0};
  Message* will = nullptr;
  if (options.will) {
    const auto qos = static_cast<proto::QoS>(clients_.random.below(3));
    will = &clients_.oracle.new_message(name(), "w/" + name(), qos, false);
    will->is_will = true;
    terms.will = will->id;
  }
  Connection& connection = clients_.open(*this, process, terms);
  open_.push_back(&connection);
  clients_.trace.line(connection.name(), " => CONNECT", terms.clean_start ? " clean" : "",
                      terms.persistent ? " persistent" : "", will != nullptr ? " will " + will->name() : "");
  proto::Connect packet;
  packet.version = terms.version;
  packet.clean_start = terms.clean_start;
  packet.client_id = name();
  const std::string will_payload = will != nullptr ? will->payload() : "";
  if (will != nullptr) {
    packet.will = proto::Will{will->qos, false, will->topic, will_payload, {}};
  }
  if (v5 && terms.persistent) packet.properties.session_expiry_interval = 0xFFFFFFFF;
  if (terms.receive_maximum != 0) packet.properties.receive_maximum = terms.receive_maximum;
  std::string bytes;
  encode(packet, bytes);
  connection.write(bytes);
  return connection;
}

uint16_t Identity::next_packet_id() {
  do {
    if (++last_packet_id_ == 0) ++last_packet_id_;
  } while (std::any_of(out_.begin(), out_.end(), [this](const Outgoing& o) { return o.packet_id == last_packet_id_; }));
  return last_packet_id_;
}

void Identity::subscribe(const std::vector<std::string>& filters) {
  if (current_ == nullptr) return;
  proto::Subscribe packet;
  packet.packet_id = next_packet_id();
  for (const std::string& filter : filters) {
    clients_.trace.line(current_->name(), " => SUBSCRIBE ", filter);
    packet.entries.push_back({filter, profile_.qos, false, false, proto::RetainHandling::send});
  }
  std::string bytes;
  encode(packet, profile_.version, bytes);
  current_->write(bytes);
}

void Identity::unsubscribe(const std::string& filter) {
  if (current_ == nullptr) return;
  clients_.trace.line(current_->name(), " => UNSUBSCRIBE ", filter);
  proto::Unsubscribe packet;
  packet.packet_id = next_packet_id();
  packet.filters.push_back(filter);
  std::string bytes;
  encode(packet, profile_.version, bytes);
  current_->write(bytes);
}

void Identity::publish(const std::string& topic, proto::QoS qos, bool retain, bool erase, size_t padding) {
  if (current_ == nullptr || (qos != proto::QoS::at_most_once && out_.size() >= kReceiveMaximum)) return;
  Message& m = clients_.oracle.new_message(name(), topic, qos, retain);
  m.erases = erase;
  m.padding = padding;
  Outgoing outgoing{0, m.id};
  if (qos != proto::QoS::at_most_once) {
    outgoing.packet_id = next_packet_id();
    out_.push_back(outgoing);
  }
  send_publish(*current_, outgoing, false);
}

void Identity::send_publish(Connection& connection, const Outgoing& outgoing, bool dup) {
  const Message& m = clients_.oracle.message(outgoing.message);
  clients_.trace.line(connection.name(), " => PUBLISH ", m.name(), ' ', m.topic, " qos ", static_cast<int>(m.qos),
                      dup ? " dup" : "", m.retain ? " retain" : "", m.erases ? " empty" : "");
  const std::string payload = m.payload();
  proto::Publish packet;
  packet.dup = dup;
  packet.qos = m.qos;
  packet.retain = m.retain;
  packet.packet_id = outgoing.packet_id;
  packet.topic = m.topic;
  packet.payload = payload;
  if (m.erases) connection.erasing[packet.packet_id] = m.id;
  std::string bytes;
  encode(packet, profile_.version, bytes);
  connection.write(bytes);
}

void Identity::send_release(Connection& connection, uint16_t packet_id) {
  char bytes[8];
  char* end =
      proto::write_ack(proto::PacketType::pubrel, profile_.version, packet_id, proto::ReasonCode::success, bytes);
  connection.write({bytes, static_cast<size_t>(end - bytes)});
}

void Identity::disconnect() {
  if (current_ == nullptr) return;
  clients_.trace.line(current_->name(), " => DISCONNECT");
  std::string bytes;
  encode(proto::Disconnect{}, profile_.version, bytes);
  current_->write(bytes);
  drop(*current_, false);
}

void Identity::drop(bool lose_unread) {
  if (current_ != nullptr) drop(*current_, lose_unread);
}

void Identity::drop(Connection& connection, bool lose_unread) {
  clients_.trace.line(connection.name(), " closed by its client", lose_unread ? ", unsent bytes lost" : "");
  connection.close_by_client(lose_unread);
  forget(connection);
}

void Identity::forget(Connection& connection) {
  std::erase(open_, &connection);
  std::erase_if(owed_acks_, [&connection](const OwedAck& ack) { return ack.connection == connection.index; });
  if (current_ == &connection) {
    current_ = nullptr;
    paused_ = false;
  }
}

void Identity::download(Connection& connection) {
  const std::string bytes =
      connection.read(clients_.random.one_in(3) ? 1 << 20 : 1 + clients_.random.below(clients_.settings.chunk));
  clients_.trace.mix(bytes.size());
  std::string_view input = bytes;
  proto::Frame frame;
  while (!connection.client_closed && connection.inbound().next(input, frame) == proto::Framer::Result::frame) {
    handle(connection, frame);
  }
  if (connection.at_end()) {
    clients_.trace.line(connection.name(), " was closed");
    connection.close_by_client(true);
    forget(connection);
  }
}

void Identity::act() {
  Clients& c = clients_;
  if (current_ == nullptr) return act_without_connection();
  if (!current_->can_write()) return;
  const uint64_t deed = c.random.below(100);
  if (deed < 62) return publish_something();
  if (deed < 78) return subscribe_something();
  if (deed < 82)
    return unsubscribe(profile_.shares && c.random.one_in(2) ? shared_filters()[0]
                                                             : plain_filters()[c.random.below(plain_filters().size())]);
  if (deed < 87) return set_paused(!paused_);
  if (deed < 90) return disconnect();
  if (deed < 94) return drop(c.random.one_in(2));
  if (open_.size() < 4) act_without_connection();  // while it still has one: a takeover
}

void Identity::act_without_connection() {
  Clients& c = clients_;
  if (!open_.empty() && current_ == nullptr && !c.random.one_in(8)) return;  // it waits for an answer
  if (open_.size() >= 4) return drop(*open_.front(), c.random.one_in(2));
  if (!open_.empty() && !c.settings.racing) return;
  uint64_t n = c.settings.racing && c.random.one_in(3) ? 1 + c.random.below(3) : 1;
  for (; n > 0; --n) {
    Process* process = c.any_ready(profile_.host);
    if (process == nullptr) return;
    ConnectOptions options;
    options.persistent = profile_.persistent && !c.random.one_in(16);
    options.clean_start = !profile_.persistent || c.random.one_in(10);
    options.will = c.random.one_in(3);
    if (profile_.shares && c.settings.durable_members) {
      options.persistent = true;
      options.clean_start = false;
    }
    connect(*process, options);
  }
}

void Identity::publish_something() {
  Clients& c = clients_;
  if (out_.size() >= 10) return;
  const auto qos = static_cast<proto::QoS>(c.random.below(3));
  // Where everything is delivered in crumbs, large payloads would take for ever.
  const size_t large = std::min<size_t>(200'000, c.settings.chunk * 256);
  const size_t padding = c.random.one_in(40)  ? c.random.below(large)
                         : c.random.one_in(6) ? c.random.below(std::min<size_t>(large, 3000))
                                              : 0;
  const uint64_t kind = c.random.below(10);
  if (kind < 7 || (kind == 7 && !c.settings.shared)) {
    publish(plain_topics()[c.random.below(plain_topics().size())], qos, false, false, padding);
  } else if (kind == 7) {
    publish(shared_topics()[c.random.below(shared_topics().size())], qos);
  } else if (!c.settings.retained) {
    publish(plain_topics()[0], qos);
  } else {
    publish(retained_topics()[c.random.below(retained_topics().size())], qos, true, c.random.one_in(8));
  }
}

void Identity::subscribe_something() {
  Clients& c = clients_;
  if (profile_.shares && c.random.one_in(2)) return subscribe(shared_filters());
  std::vector<std::string> filters{plain_filters()[c.random.below(plain_filters().size())]};
  const std::string& second = plain_filters()[c.random.below(plain_filters().size())];
  if (c.random.one_in(3) && second != filters[0]) filters.push_back(second);
  subscribe(filters);
}

}  // namespace sim
