#include "worker/broker/retained_sync.h"

#include <algorithm>
#include <utility>

#include "shared/bus/message_codec.h"
#include "worker/broker/peers.h"
#include "worker/broker/retained_home.h"

namespace broker {

using bus::FrameType;
using cluster::Status;

namespace {
constexpr uint8_t kRoundBegins = 0;
constexpr uint8_t kRoundEnds = 1;
constexpr uint8_t kRoundBeginsTold = 2;  // of what was deleted the snapshot tells: what it does not have Redis has lost
}  // namespace

// --- Redis comes and goes ---

void RetainedSync::on_joined(uint64_t cluster_id) {
  if (redis_ == Redis::up && cluster_id_ == cluster_id) return;
  redis_ = Redis::up;
  cluster_id_ = cluster_id;
  ++session_;
  need_rounds();
  for (uint32_t slot = 0; slot < homes_.size(); ++slot) send_state(slot);
  pump();
}

void RetainedSync::on_down() {
  redis_ = Redis::away;
  ++session_;
  need_rounds();
  for (uint32_t slot = 0; slot < homes_.size(); ++slot) send_state(slot);
}

// Everybody has missed something, from a place in the changes on that is not known.
void RetainedSync::need_rounds() {
  position_ = 0;
  round_.runs = false;
  for (Home& home : homes_) home.needs_round = true;
  refresh_gauge();
}

void RetainedSync::send_state(uint32_t slot) {
  if (redis_ == Redis::unknown) return;
  std::string body;
  bus::Writer(body).put<uint8_t>(redis_ == Redis::up).put<uint64_t>(highest_ + kFloor);
  send(slot, FrameType::retain_state, body);
}

void RetainedSync::send(uint32_t slot, FrameType type, std::string_view body) {
  if (homes_[slot].incarnation == 0) return;
  Peer* peer = core_.peers->find(WorkerId{slot, homes_[slot].incarnation});
  if (peer != nullptr) core_.peers->send(*peer, type, 0, body);
}

// --- homes ---

RetainedSync::Home* RetainedSync::home_of(const Peer& peer) {
  Home* home = peer.id.slot < homes_.size() ? &homes_[peer.id.slot] : nullptr;
  return home != nullptr && home->incarnation == peer.id.incarnation ? home : nullptr;
}

void RetainedSync::on_worker_linked(Peer& peer) {
  if (peer.id.slot >= homes_.size()) return;
  homes_[peer.id.slot] = Home();
  homes_[peer.id.slot].incarnation = peer.id.incarnation;
  send_state(peer.id.slot);
  pump();
}

void RetainedSync::on_worker_gone(const WorkerId& peer) {
  if (peer.slot >= homes_.size() || homes_[peer.slot].incarnation != peer.incarnation) return;
  homes_[peer.slot] = Home();
  round_.homes.erase(peer.slot);
  if (round_.runs && round_.homes.empty()) round_.runs = false;
  pump();
}

bool RetainedSync::on_order(const Peer& from, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto at_least = reader.get<uint64_t>();
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message || home_of(from) == nullptr) return false;
  auto done = expect(from.id.slot, &Home::orders, FrameType::retain_ordered);
  if (redis_ == Redis::up) {
    hub_.retain(message->topic(), value_of(*message), std::max(at_least, highest_), std::move(done));
  } else {
    done(Status::lost, 0);
  }
  return true;
}

bool RetainedSync::on_offer(const Peer& from, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto version = reader.get<uint64_t>();
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message || version == 0 || home_of(from) == nullptr) return false;
  core_.page.add(metrics::Counter::retained_offered);
  auto done = expect(from.id.slot, &Home::offers, FrameType::retain_offered);
  if (redis_ == Redis::up) {
    hub_.retain_again({version, std::string(message->topic()), value_of(*message)}, std::move(done));
  } else {
    done(Status::lost, 0);
  }
  return true;
}

// If the gateway is fenced there is no answer: its successor is asked again.
cluster::Hub::Answer<uint64_t> RetainedSync::expect(uint32_t slot, Answers Home::*answers, FrameType type) {
  Home& home = homes_[slot];
  Answers& all = home.*answers;
  const uint64_t number = all.first + all.waiting.size();
  all.waiting.emplace_back();
  return [this, slot, answers, type, number, incarnation = home.incarnation](Status status, uint64_t version) {
    if (status == Status::ok) highest_ = std::max(highest_, version);
    Home& to = homes_[slot];
    if (to.incarnation != incarnation || status == Status::fenced) return;
    (to.*answers).waiting[static_cast<size_t>(number - (to.*answers).first)] = {true,
                                                                                status == Status::ok ? version : 0};
    answer(slot, answers, type);
  };
}

void RetainedSync::answer(uint32_t slot, Answers Home::*answers, FrameType type) {
  Answers& all = homes_[slot].*answers;
  std::string body;
  for (; !all.waiting.empty() && all.waiting.front().known; all.waiting.pop_front(), ++all.first) {
    bus::Writer(body).put<uint64_t>(all.waiting.front().version);
    send(slot, type, body);
  }
}

bool RetainedSync::on_stored(const Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto stored = reader.get<uint64_t>();
  const auto round = reader.get<uint64_t>();
  Home* home = home_of(from);
  if (!reader.at_end() || home == nullptr) return false;
  if (stored < home->stored || stored - home->stored > home->unstored.size()) return false;
  for (; home->stored < stored; ++home->stored) {
    home->unstored_bytes -= home->unstored.front();
    home->unstored.pop_front();
  }
  if (round_.runs && round_.read && round == round_.number) {
    round_.homes.erase(from.id.slot);
    if (round_.homes.empty()) end_round();
  }
  pump();
  return true;
}

// --- reading ---

void RetainedSync::pump() {
  if (redis_ != Redis::up) return;
  if (!round_.runs) begin_round();
  read_changes();
  read_snapshot();
}

void RetainedSync::begin_round() {
  std::set<uint32_t> targets;
  for (uint32_t slot = 0; slot < homes_.size(); ++slot) {
    if (homes_[slot].incarnation != 0 && homes_[slot].needs_round) targets.insert(slot);
  }
  if (targets.empty()) return;
  const uint64_t number = round_.number + 1;
  round_ = Round();
  round_.runs = true;
  round_.number = number;
  round_.homes = targets;
  std::string body;
  // A Redis that has come back older is known by no other sign.
  const bool told = in_touch_ != 0 && core_.now() - in_touch_ < hub_.deletions_kept_ms() / 2;
  bus::Writer(body)
      .put<uint8_t>(told ? kRoundBeginsTold : kRoundBegins)
      .put<uint64_t>(number)
      .put<uint64_t>(cluster_id_);
  for (const uint32_t slot : targets) {
    homes_[slot].needs_round = false;
    send(slot, FrameType::retain_round, body);
  }
  core_.page.add(metrics::Counter::retained_snapshots);
  refresh_gauge();
}

void RetainedSync::end_round() {
  round_.runs = false;
  refresh_gauge();
  const auto has_all = [](const Home& home) { return home.incarnation != 0 && !home.needs_round; };
  if (std::all_of(homes_.begin(), homes_.end(), has_all)) synchronised_ = true;
}

bool RetainedSync::crowded() const {
  return std::any_of(homes_.begin(), homes_.end(), [](const Home& home) { return home.unstored_bytes > kWindow; });
}

void RetainedSync::read_changes() {
  if (changes_asked_ || crowded() || (position_ == 0 && !round_.runs)) return;
  changes_asked_ = true;
  hub_.changes(position_, [this, session = session_](Status status, const cluster::Changes& changes) {
    changes_asked_ = false;  // one at a time, whatever becomes of the answer
    if (session == session_) on_changes(status, changes);
  });
}

void RetainedSync::on_changes(Status status, const cluster::Changes& changes) {
  if (status != Status::ok) return;  // poke() tries again, if on_down() does not follow
  if (changes.gap) {
    need_rounds();
  } else {
    for (const cluster::Retained& item : changes.items) pass(item, false);
    core_.page.add(metrics::Counter::retained_changes, changes.items.size());
    position_ = std::max<uint64_t>(changes.next, 1);
    if (!round_.runs) in_touch_ = core_.now();
  }
  pump();
}

void RetainedSync::read_snapshot() {
  if (!round_.runs || round_.asked || round_.read || position_ == 0 || crowded()) return;
  round_.asked = true;
  hub_.snapshot(round_.cursor,
                [this, session = session_, number = round_.number](Status status, const cluster::Changes& piece) {
                  if (session == session_ && round_.runs && number == round_.number) on_piece(status, piece);
                });
}

void RetainedSync::on_piece(Status status, const cluster::Changes& piece) {
  round_.asked = false;
  if (status != Status::ok) return;
  for (const cluster::Retained& item : piece.items) pass(item, true);
  round_.cursor = piece.next;
  if (piece.next == 0) {
    round_.read = true;
    std::string body;
    bus::Writer(body).put<uint8_t>(kRoundEnds).put<uint64_t>(round_.number).put<uint64_t>(cluster_id_);
    for (const uint32_t slot : round_.homes) send(slot, FrameType::retain_round, body);
  }
  pump();
}

void RetainedSync::pass(const cluster::Retained& item, bool of_snapshot) {
  highest_ = std::max(highest_, item.version);
  const uint32_t slot = core_.home_of(item.topic);
  Home& home = homes_[slot];
  if (home.incarnation == 0 || (of_snapshot && !round_.homes.contains(slot))) return;
  Peer* peer = core_.peers->find(WorkerId{slot, home.incarnation});
  const bus::MessageRef message = message_of(item);
  if (peer == nullptr || !message) return;
  bus::Writer(core_.scratch).put<uint64_t>(item.version).put<uint8_t>(of_snapshot);
  bus::append_message_frame(peer->link, FrameType::retain_change, 0, core_.scratch, *message);
  core_.peers->mark_dirty(*peer);
  home.unstored.push_back(message->footprint());
  home.unstored_bytes += message->footprint();
}

// --- values: messages as between nodes, empty for a deletion ---

int64_t RetainedSync::expiry_shift() const {
  return static_cast<int64_t>(core_.env.clock->wall_us() / 1000) - static_cast<int64_t>(core_.now());
}

std::string RetainedSync::value_of(const bus::Message& message) const {
  std::string value;
  if (!message.payload().empty()) bus::append_message(value, message, expiry_shift());
  return value;
}

// Null: nothing that a gateway has written.
bus::MessageRef RetainedSync::message_of(const cluster::Retained& item) const {
  if (item.topic.empty() || item.topic.size() > UINT16_MAX || RetainedHome::is_own(item.topic)) return {};
  if (item.value.empty()) {
    bus::Message::Fields f;
    f.retain = true;
    f.topic = item.topic;
    return bus::Message::make(f);
  }
  bus::Reader reader(item.value);
  const bus::MessageRef message = bus::read_message(reader, base::BufferRef(), expiry_shift());
  return message && message->topic() == item.topic && !message->payload().empty() ? message : bus::MessageRef();
}

void RetainedSync::refresh_gauge() const {
  uint64_t behind = 0;
  for (uint32_t slot = 0; slot < homes_.size(); ++slot) {
    const bool in_round = round_.runs && round_.homes.contains(slot);
    behind += homes_[slot].needs_round || in_round ? 1 : 0;
  }
  core_.page.set(metrics::Gauge::retained_unsynchronised, behind);
}

}  // namespace broker
