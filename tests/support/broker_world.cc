#include "tests/support/broker_world.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <variant>

#include "proto/print.h"
#include "tests/vectors/vector_file.h"

namespace support {
namespace {

// Takes all that a link has to write now, one piece a descriptor.
template <typename Take>
void drain(bus::Link& link, Take take) {
  iovec iov[16];
  int descriptor = -1;
  for (int count = 0; (count = link.gather(iov, 16, descriptor)) != 0;) {
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(iov[i].iov_base), iov[i].iov_len);
    link.on_written(bytes.size());
    take(std::move(bytes), descriptor < 0 ? -1 : dup(descriptor));
  }
}

std::string line_of(uint8_t type, uint8_t flags, std::string_view body) {
  std::string line = std::to_string(type) + ((flags & bus::kAckSoon) != 0 ? "!" : "");
  for (const char c : body) {
    char text[4];
    std::snprintf(text, sizeof text, " %02x", static_cast<unsigned char>(c));
    line += text;
  }
  return line;
}

}  // namespace

// --- the world ---

BrokerWorld::BrokerWorld(uint32_t workers) : BrokerWorld(workers, Options()) {}

BrokerWorld::BrokerWorld(uint32_t workers, const Options& options)
    : options_(options), disks_(workers), workers_(workers) {
  config::WorkerGroup group;
  group.count = workers;
  config_.workers.push_back(group);
  config_.mqtt = options.mqtt;
  config_.mqtt.sys_interval = 0;
  if (options.clustered) config_.redis.url = "redis://played.by.the.test";
  for (uint32_t slot = 0; slot < std::min(workers, options.started); ++slot) start(slot);
  run();
}

BrokerWorld::~BrokerWorld() {
  for (Pipe& p : pipes_) {
    for (Piece& piece : p.pieces) {
      if (piece.descriptor >= 0) ::close(piece.descriptor);
    }
  }
}

void BrokerWorld::start(uint32_t slot) {
  auto& worker = workers_[slot] = std::make_unique<Worker>(disks_[slot]);
  worker->incarnation = ++last_incarnation_;
  broker::Environment e;
  e.config = &config_;
  e.slot = slot;
  e.incarnation = worker->incarnation;
  e.clock = &clock;
  e.random = &worker->random;
  e.pool = &pool;
  e.store = &worker->store;
  e.page = metrics::PageRef(&worker->page);
  e.page_of = [this](uint32_t s) { return metrics::PageRef(&workers_[s]->page); };
  e.link_credit = options_.link_credit;
  e.unsure_until_us = unsure_until_us;
  e.flush_link = [this, id = id(slot)](uint32_t to, bus::Link& link) { write(id, to, link); };
  e.on_ready = [w = worker.get()] { w->ready = true; };
  worker->broker = std::make_unique<broker::Broker>(e);
  worker->broker->load();
  announce();
}

void BrokerWorld::kill(uint32_t slot) {
  for (BrokerClient* client : clients_) {
    if (client->slot_ == slot) client->client_ = nullptr;
  }
  workers_[slot].reset();
  announce();
}

void BrokerWorld::set_full(uint32_t slot) {
  workers_[slot]->store.hold();
  workers_[slot]->store.set_health(store::Health::full);
}

void BrokerWorld::set_well(uint32_t slot) {
  workers_[slot]->store.release();
  workers_[slot]->store.set_health(store::Health::ok);
  run();
}

void BrokerWorld::announce(const std::vector<broker::PeerId>& more) {
  std::vector<broker::PeerId> live = more;
  for (uint32_t slot = 0; slot < workers_.size(); ++slot) {
    if (workers_[slot]) live.push_back(id(slot));
  }
  for (auto& worker : workers_) {
    if (worker) worker->broker->set_peers(live);
  }
}

bool BrokerWorld::lives(broker::PeerId peer) const {
  return workers_[peer.slot] && workers_[peer.slot]->incarnation == peer.incarnation;
}

BrokerWorld::Pipe& BrokerWorld::pipe(broker::PeerId from, broker::PeerId to) {
  const auto it =
      std::find_if(pipes_.begin(), pipes_.end(), [&](const Pipe& p) { return p.from == from && p.to == to; });
  if (it != pipes_.end()) return *it;
  Pipe& made = pipes_.emplace_back();
  made.from = from;
  made.to = to;
  return made;
}

void BrokerWorld::hold(uint32_t from, uint32_t to, bool held) {
  pipe(id(from), id(to)).held = held;
}
void BrokerWorld::block(uint32_t from, uint32_t to, bool blocked) {
  pipe(id(from), id(to)).blocked = blocked;
}

void BrokerWorld::write(broker::PeerId from, uint32_t to, bus::Link& link) {
  if (to >= workers_.size() || !workers_[to]) return;
  Pipe& p = pipe(from, id(to));
  if (!p.connected || p.blocked) return;
  drain(link, [&p](std::string bytes, int descriptor) { p.pieces.push_back({std::move(bytes), descriptor}); });
}

bool BrokerWorld::connect_links() {
  bool made = false;
  for (uint32_t a = 0; a < workers_.size(); ++a) {
    for (uint32_t b = a + 1; b < workers_.size(); ++b) {
      if (!workers_[a] || !workers_[b] || pipe(id(a), id(b)).connected) continue;
      const bus::Link* of_a = (*this)[a].link(id(b));
      const bus::Link* of_b = (*this)[b].link(id(a));
      if (of_a == nullptr || of_b == nullptr) continue;  // not yet: a predecessor is not forgotten
      REQUIRE((*this)[a].peer_connected(id(b), of_b->received()));
      REQUIRE((*this)[b].peer_connected(id(a), of_a->received()));
      pipe(id(a), id(b)).connected = pipe(id(b), id(a)).connected = made = true;
    }
  }
  return made;
}

bool BrokerWorld::move_bytes() {
  bool moved = false;
  for (Pipe& p : pipes_) {
    if (!lives(p.to)) p.pieces.clear();
    if (!p.held && lives(p.to)) {
      for (; !p.pieces.empty(); p.pieces.pop_front()) {
        const Piece piece = std::move(p.pieces.front());
        broker::Broker& to = (*this)[p.to.slot];
        if (piece.descriptor >= 0) to.link(p.from)->on_attachment(piece.descriptor);
        REQUIRE(to.peer_bytes(p.from, piece.bytes));
        moved = true;
      }
    }
    if (!lives(p.from) || !p.connected || p.blocked || !lives(p.to)) continue;
    bus::Link& link = *(*this)[p.from.slot].link(p.to);
    if (!link.waiting()) continue;
    write(p.from, p.to.slot, link);
    (*this)[p.from.slot].peer_progress(p.to);
    moved = true;
  }
  return moved;
}

// Who has read all of a dead process's stream forgets it.
bool BrokerWorld::bury() {
  bool moved = false;
  for (size_t i = 0; i < pipes_.size();) {
    const Pipe& p = pipes_[i];
    if (lives(p.from) && lives(p.to)) {
      ++i;
      continue;
    }
    if (lives(p.to) && !p.pieces.empty()) {
      ++i;
      continue;
    }
    const broker::PeerId from = p.from, to = p.to;
    pipes_.erase(pipes_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!lives(to)) continue;
    (*this)[to.slot].peer_disconnected(from);
    (*this)[to.slot].peer_gone(from);
    moved = true;
  }
  return moved;
}

void BrokerWorld::turn(uint32_t slot) {
  Worker& worker = *workers_[slot];
  do {
    worker.broker->advance();
    worker.broker->end_of_turn();
    for (BrokerClient* client : clients_) {
      if (client->slot_ == slot) client->take_output();
    }
  } while (worker.broker->more_work() || worker.store.due());
  worker.broker->end_of_turn();
}

void BrokerWorld::run() {
  bool moved = true;
  for (int rounds = 0; moved; ++rounds) {
    REQUIRE(rounds < 10'000);
    moved = connect_links();
    for (uint32_t slot = 0; slot < workers_.size(); ++slot) {
      if (workers_[slot]) turn(slot);
    }
    moved = move_bytes() || moved;
    moved = bury() || moved;
  }
}

void BrokerWorld::pass(base::MonoMs ms) {
  clock.advance(ms);
  run();
}

uint64_t BrokerWorld::count(uint32_t slot, metrics::Counter counter) const {
  return metrics::PageRef(&workers_[slot]->page).get(counter);
}

int64_t BrokerWorld::gauge(uint32_t slot, metrics::Gauge gauge) const {
  return static_cast<int64_t>(metrics::PageRef(&workers_[slot]->page).get(gauge));
}

// The hash by which all workers of a host agree.
std::string BrokerWorld::at_home(uint32_t slot, const std::string& prefix) const {
  for (int n = 0;; ++n) {
    const std::string word = prefix + std::to_string(n);
    uint64_t hash = 0xCBF29CE484222325ULL;
    for (const char c : word) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ULL;
    hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ULL;
    if ((hash >> 32) % workers_.size() == slot) return word;
  }
}

// --- a client ---

BrokerClient::BrokerClient(BrokerWorld& world, uint32_t slot, proto::ProtocolVersion version)
    : world_(world), slot_(slot), version_(version), output_(world.pool), client_(world[slot].open_client(*this)) {
  world_.clients_.push_back(this);
}

BrokerClient::~BrokerClient() {
  if (client_ != nullptr) client_->on_transport_closed();
  std::erase(world_.clients_, this);
}

void BrokerClient::send(std::string_view bytes) {
  REQUIRE(client_ != nullptr);
  const std::vector<char> copy(bytes.begin(), bytes.end());
  client_->on_bytes({copy.data(), copy.size()});
}

void BrokerClient::connect(const std::string& id, const Terms& terms) {
  proto::Connect packet;
  packet.version = version_;
  packet.client_id = id;
  packet.clean_start = terms.clean;
  if (terms.expiry != 0) packet.properties.session_expiry_interval = terms.expiry;
  if (terms.receive_maximum != 0) packet.properties.receive_maximum = terms.receive_maximum;
  if (!terms.will.empty()) packet.will = proto::Will{proto::QoS::at_least_once, false, terms.will, {}, {}};
  std::string bytes;
  encode(packet, bytes);
  send(bytes);
  world_.run();
}

void BrokerClient::subscribe(std::string_view filter, int qos) {
  proto::Subscribe packet;
  packet.packet_id = next_id();
  packet.entries.push_back({filter, static_cast<proto::QoS>(qos), false, false, proto::RetainHandling::send});
  std::string bytes;
  encode(packet, version_, bytes);
  send(bytes);
  world_.run();
}

void BrokerClient::unsubscribe(std::string_view filter) {
  proto::Unsubscribe packet;
  packet.packet_id = next_id();
  packet.filters.push_back(filter);
  std::string bytes;
  encode(packet, version_, bytes);
  send(bytes);
  world_.run();
}

void BrokerClient::write_publish(std::string_view topic, std::string_view payload, int qos, bool retain) {
  proto::Publish packet;
  packet.topic = topic;
  packet.payload = payload;
  packet.qos = static_cast<proto::QoS>(qos);
  packet.retain = retain;
  if (qos != 0) packet.packet_id = next_id();
  std::string bytes;
  encode(packet, version_, bytes);
  send(bytes);
}

void BrokerClient::publish(std::string_view topic, std::string_view payload, int qos, bool retain) {
  write_publish(topic, payload, qos, retain);
  world_.run();
}

void BrokerClient::puback(uint16_t packet_id) {
  char bytes[8];
  const char* end = proto::write_ack(proto::PacketType::puback, version_, packet_id, proto::ReasonCode::success, bytes);
  send({bytes, static_cast<size_t>(end - bytes)});
  world_.run();
}

void BrokerClient::disconnect(std::optional<uint32_t> expiry) {
  proto::Disconnect packet;
  packet.properties.session_expiry_interval = expiry;
  std::string bytes;
  encode(packet, version_, bytes);
  send(bytes);
  world_.run();
}

void BrokerClient::drop() {
  client_->on_transport_closed();
  client_ = nullptr;
  world_.run();
}

void BrokerClient::close() {
  take_output();
  client_ = nullptr;
  closed = true;
}

void BrokerClient::take_output() {
  if (output_.empty()) return;
  iovec pieces[16];
  while (!output_.empty()) {
    const int count = output_.gather(0, pieces, 16);
    size_t taken = 0;
    for (int i = 0; i < count; ++i) {
      inbox_.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      taken += pieces[i].iov_len;
    }
    output_.drop_front(taken);
  }
  if (client_ != nullptr && !closed) client_->on_flushed();
}

template <typename F>
void BrokerClient::read(F&& each) {
  take_output();
  const std::string raw = std::exchange(inbox_, {});
  std::string_view input = raw;
  proto::Framer framer(proto::kMaxPacketSize);
  proto::Frame frame;
  while (framer.next(input, frame) == proto::Framer::Result::frame) {
    const auto packet = proto::decode_any(frame, version_);
    REQUIRE(std::holds_alternative<proto::Packet>(packet));
    each(std::get<proto::Packet>(packet));
  }
  REQUIRE_FALSE(framer.mid_packet());
}

Lines BrokerClient::received() {
  Lines lines;
  read([&](const proto::Packet& packet) {
    const std::string line = proto::describe(packet);
    const size_t properties = line.find(" {");
    const size_t end = line.find('}', properties);
    lines.push_back(properties == std::string::npos ? line : line.substr(0, properties) + line.substr(end + 1));
  });
  return lines;
}

Lines BrokerClient::payloads() {
  Lines lines;
  read([&](const proto::Packet& packet) {
    if (const auto* publish = std::get_if<proto::Publish>(&packet)) lines.emplace_back(publish->payload);
  });
  return lines;
}

// --- a peer of the test's ---

ScriptedPeer::ScriptedPeer(BrokerWorld& world, uint32_t slot, uint64_t incarnation, std::vector<broker::PeerId> others)
    : id{slot, incarnation}, world_(world), link_(world.pool) {
  others.push_back(id);
  world_.announce(others);
  bus::Link* other = world_[0].link(id);
  REQUIRE(other != nullptr);
  REQUIRE(link_.connected(other->received()));
  REQUIRE(world_[0].peer_connected(id, 0));
}

void ScriptedPeer::send(bus::FrameType type, std::string_view dialect, uint8_t flags) {
  send_raw(type, bytes(dialect), flags);
}

std::string ScriptedPeer::bytes(std::string_view dialect) {
  return vectors::bytes(dialect);
}

void ScriptedPeer::send_raw(bus::FrameType type, std::string_view body, uint8_t flags) {
  std::copy(body.begin(), body.end(), link_.append(static_cast<uint8_t>(type), flags, body.size()));
}

void ScriptedPeer::send(bus::FrameType type, std::string_view dialect, const bus::Message& message) {
  bus::append_message_frame(link_, type, 0, vectors::bytes(dialect), message);
}

bool ScriptedPeer::run() {
  for (bool moved = true; moved;) {
    moved = false;
    world_.turn(0);
    drain(*world_[0].link(id), [&](const std::string& bytes, int descriptor) {
      if (descriptor >= 0) link_.on_attachment(descriptor);
      REQUIRE(link_.on_bytes(bytes, *this));
      moved = true;
    });
    world_[0].peer_progress(id);
    link_.acknowledge_if_due();
    bool good = true;
    drain(link_, [&](const std::string& bytes, int) {
      good = good && world_[0].peer_bytes(id, bytes);
      moved = true;
    });
    if (!good) return false;
  }
  return true;
}

bool ScriptedPeer::on_frame(uint8_t type, uint8_t flags, std::string_view body, const base::BufferRef&) {
  frames_.push_back(line_of(type, flags, body));
  return true;
}

std::string ScriptedPeer::frame(bus::FrameType type, std::string_view dialect, uint8_t flags) {
  return frame_raw(type, bytes(dialect), flags);
}

std::string ScriptedPeer::frame_raw(bus::FrameType type, std::string_view body, uint8_t flags) {
  return line_of(static_cast<uint8_t>(type), flags, body);
}

Lines ScriptedPeer::frames() {
  return take(frames_);
}

}  // namespace support
