#include "worker/broker/retained_service.h"

#include <algorithm>

#include "proto/topic.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"

namespace broker {
namespace {
constexpr size_t kSlice = 128;     // messages per replay and turn
constexpr uint32_t kCredit = 256;  // items a home may send ahead
constexpr size_t kMaxBacklog = 256 * 1024;
constexpr size_t kMaxQueued = 512;
}  // namespace

bool RetainedService::store(const bus::MessageRef& message) {
  const uint32_t home = core_.home_of(message->topic());
  if (home == core_.self.slot) return set_local(message);
  Peer* peer = core_.peers->find(home);
  if (peer == nullptr) return true;  // its share is gone with the worker; what comes next starts afresh
  bus::append_message_frame(peer->link, bus::FrameType::retain_set, bus::kAckSoon, {}, *message);
  core_.peers->mark_dirty(*peer);
  if (message->qos() != proto::QoS::at_most_once) core_.peers->wait_processed(*peer, core_.tickets->wait());
  return true;
}

bool RetainedService::set_local(const bus::MessageRef& message) {
  // The broker's own topics are not the users' to be limited by.
  const bool own = message->topic().starts_with("$SYS/");
  const uint64_t share = std::max<uint64_t>(1, core_.mqtt.max_retained / core_.slots);
  const uint64_t limit = own || core_.mqtt.max_retained == 0 ? 0 : share + own_topics_;
  const size_t before = retained_.count();
  const bool stored = retained_.set(message, limit);
  if (own) own_topics_ = own_topics_ + retained_.count() - before;
  refresh_gauges();
  return stored;
}

void RetainedService::refresh_gauges() {
  core_.page.set(metrics::Gauge::retained_messages, retained_.count());
  core_.page.set(metrics::Gauge::retained_bytes, retained_.bytes());
}

bool RetainedService::on_set(std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message) return false;
  set_local(message);
  return true;
}

void RetainedService::replay(session::Session& session, std::string_view filter,
                             const router::SubscriptionOptions& options) {
  const uint64_t query = next_query_++;
  Replay& replay = replays_[query];
  replay.subscriber = session.id();
  replay.filter = filter;
  replay.options = options;
  const bool exact = !proto::has_wildcard(filter);
  const uint32_t home = exact ? core_.home_of(filter) : 0;
  if (!exact || home == core_.self.slot) replay.local = std::make_unique<router::Retained::Cursor>(filter);
  core_.peers->for_each([&](Peer& peer) {
    if (exact && peer.id.slot != home) return;
    replay.remotes[peer.id.slot] = {peer.id.incarnation, 0};
    bus::Writer(core_.scratch).put<uint64_t>(query).put<uint32_t>(kCredit).text(filter);
    core_.peers->send(peer, bus::FrameType::retain_query, 0, core_.scratch);
  });
  if (replay.done()) replays_.erase(query);
}

void RetainedService::cancel_replay(std::map<uint64_t, Replay>::iterator it) {
  for (const auto& [slot, source] : it->second.remotes) {
    Peer* peer = core_.peers->find(WorkerId{slot, source.incarnation});
    if (peer == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(it->first);
    core_.peers->send(*peer, bus::FrameType::retain_cancel, 0, core_.scratch);
  }
  replays_.erase(it);
}

void RetainedService::cancel(session::Session& session) {
  for (auto it = replays_.begin(); it != replays_.end();) {
    const auto current = it++;
    if (current->second.subscriber == session.id()) cancel_replay(current);
  }
}

void RetainedService::cancel(session::Session& session, std::string_view filter) {
  for (auto it = replays_.begin(); it != replays_.end();) {
    const auto current = it++;
    if (current->second.subscriber == session.id() && current->second.filter == filter) cancel_replay(current);
  }
}

void RetainedService::note_live(session::Session& session, std::string_view topic) {
  if (replays_.empty()) return;
  for (auto& [query, replay] : replays_) {
    if (replay.subscriber == session.id()) replay.seen_live.emplace(topic);
  }
}

void RetainedService::deliver(Replay& replay, const bus::MessageRef& message) {
  session::Session* session = core_.sessions->by_id(replay.subscriber);
  if (session == nullptr || replay.seen_live.contains(std::string(message->topic()))) return;
  if (message->expires_at() != 0 && message->expired(core_.now())) return;
  session::Delivery delivery;
  delivery.message = message;
  delivery.qos = std::min(replay.options.qos, message->qos());
  delivery.retain = true;  // [MQTT-3.3.1-8] of 3.1.1, [MQTT-3.3.1-9]
  delivery.ids.add(replay.options.identifier);
  session->deliver(std::move(delivery));
}

bool RetainedService::has_room(const Replay& replay) const {
  const session::Session* session = core_.sessions->by_id(replay.subscriber);
  if (session == nullptr || session->outlet() == nullptr) return false;
  return session->outlet()->backlog() < kMaxBacklog && session->queued_bytes() < kMaxBacklog &&
         const_cast<session::Session*>(session)->queue().size() < kMaxQueued;
}

bool RetainedService::run_slice() {
  bool more = false;
  for (auto it = replays_.begin(); it != replays_.end();) {
    const auto current = it++;
    Replay& replay = current->second;
    if (replay.local && has_room(replay)) {
      slice_.clear();
      retained_.next(*replay.local, kSlice, core_.now(), slice_);
      for (const bus::MessageRef& message : slice_) deliver(replay, message);
      if (replay.local->done()) {
        replay.local.reset();
      } else if (has_room(replay)) {
        more = true;
      }
    }
    if (!replay.remotes.empty()) give_credit(current->first, replay);
    if (replay.done()) replays_.erase(current);
  }
  for (auto it = servings_.begin(); it != servings_.end();) {
    const auto current = it++;
    more = serve(current->first, current->second) || more;
    if (current->second.cursor.done()) servings_.erase(current);
  }
  return more;
}

void RetainedService::give_credit(uint64_t query, Replay& replay) {
  if (!has_room(replay)) return;
  for (auto& [slot, source] : replay.remotes) {
    if (source.unreported < kCredit / 2) continue;
    Peer* peer = core_.peers->find(WorkerId{slot, source.incarnation});
    if (peer == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(query).put<uint32_t>(source.unreported);
    core_.peers->send(*peer, bus::FrameType::retain_credit, 0, core_.scratch);
    source.unreported = 0;
  }
}

bool RetainedService::serve(ServingKey key, Serving& serving) {
  Peer* peer = core_.peers->find(WorkerId{serving.slot, key.peer});
  if (peer == nullptr || serving.credit == 0 || !core_.peers->has_credit(*peer)) return false;
  slice_.clear();
  retained_.next(serving.cursor, std::min<size_t>(kSlice, serving.credit), core_.now(), slice_);
  bus::Writer(core_.scratch).put<uint64_t>(key.query);
  for (const bus::MessageRef& message : slice_) {
    bus::append_message_frame(peer->link, bus::FrameType::retain_item, 0, core_.scratch, *message);
  }
  serving.credit -= static_cast<uint32_t>(slice_.size());
  core_.peers->mark_dirty(*peer);
  if (!serving.cursor.done()) return serving.credit != 0;
  core_.peers->send(*peer, bus::FrameType::retain_end, 0, core_.scratch);
  return false;
}

bool RetainedService::on_query(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const auto credit = reader.get<uint32_t>();
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty()) return false;
  servings_.insert_or_assign(ServingKey{from.id.incarnation, query},
                             Serving{from.id.slot, router::Retained::Cursor(filter), credit});
  return true;
}

bool RetainedService::on_item(Peer& from, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message) return false;
  const auto it = replays_.find(query);
  if (it == replays_.end()) return true;
  const auto source = it->second.remotes.find(from.id.slot);
  if (source != it->second.remotes.end()) ++source->second.unreported;
  deliver(it->second, message);
  return true;
}

bool RetainedService::on_end(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = replays_.find(query);
  if (it == replays_.end()) return true;
  it->second.remotes.erase(from.id.slot);
  if (it->second.done()) replays_.erase(it);
  return true;
}

bool RetainedService::on_credit(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const auto credit = reader.get<uint32_t>();
  if (!reader.at_end()) return false;
  const auto it = servings_.find({from.id.incarnation, query});
  if (it != servings_.end()) it->second.credit += credit;
  return true;
}

bool RetainedService::on_cancel(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  servings_.erase({from.id.incarnation, query});
  return true;
}

void RetainedService::on_peer_gone(const WorkerId& gone) {
  for (auto it = servings_.begin(); it != servings_.end();) {
    it = it->first.peer == gone.incarnation ? servings_.erase(it) : std::next(it);
  }
  for (auto it = replays_.begin(); it != replays_.end();) {
    const auto current = it++;
    const auto source = current->second.remotes.find(gone.slot);
    if (source == current->second.remotes.end() || source->second.incarnation != gone.incarnation) continue;
    current->second.remotes.erase(source);
    if (current->second.done()) replays_.erase(current);
  }
}

void RetainedService::sweep() {
  if (retained_.sweep_expired(core_.now(), 256) != 0) refresh_gauges();
}

}  // namespace broker
