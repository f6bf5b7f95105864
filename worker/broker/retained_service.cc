#include "worker/broker/retained_service.h"

#include <algorithm>

#include "proto/topic.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"

namespace broker {
namespace {
constexpr int kSlice = 128;                 // messages per replay and turn
constexpr int64_t kCredit = 1024 * 1024;    // bytes a home may send ahead
constexpr size_t kMaxBacklog = 256 * 1024;  // a client with more waiting has no room
constexpr size_t kMaxQueued = 512;
constexpr size_t kMaxSeenLive = 10'000;  // per replay; beyond it an older retained message may follow a newer one
}  // namespace

// --- changes ---

bool RetainedService::store(const bus::MessageRef& message, connection::MqttClient* client) {
  const uint32_t home = core_.home_of(message->topic());
  const bool own = RetainedHome::is_own(message->topic());
  if (home == core_.self.slot) {
    if (!own) return home_.store(message, client);
    home_.set_own(message);
    return true;
  }
  Peer* peer = core_.peers->find(home);
  if (own) {
    if (peer == nullptr) return true;
    bus::append_message_frame(peer->link, bus::FrameType::retain_set, 0, {}, *message);
    core_.peers->mark_dirty(*peer);
    return true;
  }
  if (peer == nullptr) {
    core_.outbox->add(home, store::Purpose::retain, message, client);
    return true;
  }
  const bool credit = core_.peers->has_credit(*peer);
  if (!credit && message->qos() == proto::QoS::at_most_once) {
    core_.page.add(metrics::Counter::publish_dropped_bus);
    return true;
  }
  Peer::Unstored what;
  what.message = message;
  what.purpose = store::Purpose::retain;
  if (message->qos() != proto::QoS::at_most_once) what.ticket = core_.tickets->wait();
  core_.peers->send_to_store(*peer, bus::FrameType::retain_set, std::move(what));
  if (!credit && client != nullptr) core_.peers->hold_back(*peer, *client);
  return true;
}

void RetainedService::on_peer_linked(Peer& peer) {
  for (auto& [query, replay] : replays_) {
    if (replay.awaited.erase(peer.id.slot) != 0) ask(query, replay, peer);
  }
}

bool RetainedService::on_set(Peer& from, uint8_t flags, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message) return false;
  if ((flags & bus::kWantStored) == 0) {
    home_.set_own(message);
    return true;
  }
  const auto answer = [this, peer = from.id, wanted = Peers::count_wanted(from)](proto::ReasonCode reason) {
    core_.peers->confirm(peer, proto::is_error(reason) ? wanted | bus::kRefused : wanted);
  };
  core_.tickets->begin(answer);
  const bool stored = home_.store(message, nullptr);
  core_.tickets->end(stored ? proto::ReasonCode::success : proto::ReasonCode::quota_exceeded);
  return true;
}

// --- replay to a client here ---

uint64_t RetainedService::prepare(session::Session& session, std::string_view filter,
                                  const router::SubscriptionOptions& options) {
  const uint64_t query = next_query_++;
  Replay& replay = replays_[query];
  replay.subscriber = session.id();
  replay.filter = filter;
  replay.options = options;
  by_subscriber_[session.id()].push_back(query);
  return query;
}

void RetainedService::start(uint64_t query) {
  const auto it = replays_.find(query);
  if (it == replays_.end()) return;  // cancelled meanwhile
  Replay& replay = it->second;
  const std::string& filter = replay.filter;
  replay.started = true;
  const bool exact = !proto::has_wildcard(filter);
  const uint32_t home = exact ? core_.home_of(filter) : 0;
  if (!exact || home == core_.self.slot) replay.local = std::make_unique<router::Retained::Cursor>(filter);
  for (uint32_t slot = 0; slot < core_.homes; ++slot) {
    if (slot == core_.self.slot || (exact && slot != home)) continue;
    if (Peer* peer = core_.peers->find(slot)) {
      ask(query, replay, *peer);
    } else {
      replay.awaited.insert(slot);
    }
  }
  runnable_.insert(query);
}

void RetainedService::ask(uint64_t query, Replay& replay, Peer& home) {
  replay.remotes[home.id.slot] = {home.id.incarnation, 0};
  bus::Writer(core_.scratch).put<uint64_t>(query).put<int64_t>(kCredit).text(replay.filter);
  core_.peers->send(home, bus::FrameType::retain_query, 0, core_.scratch);
}

void RetainedService::erase(Replays::iterator it) {
  const auto list = by_subscriber_.find(it->second.subscriber);
  std::erase(list->second, it->first);
  if (list->second.empty()) by_subscriber_.erase(list);
  runnable_.erase(it->first);
  replays_.erase(it);
}

void RetainedService::cancel_replay(Replays::iterator it) {
  for (const auto& [slot, source] : it->second.remotes) {
    Peer* peer = core_.peers->find(WorkerId{slot, source.incarnation});
    if (peer == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(it->first);
    core_.peers->send(*peer, bus::FrameType::retain_cancel, 0, core_.scratch);
  }
  erase(it);
}

void RetainedService::cancel(session::Session& session) {
  const auto list = by_subscriber_.find(session.id());
  if (list == by_subscriber_.end()) return;
  const std::vector<uint64_t> queries = list->second;
  for (const uint64_t query : queries) cancel_replay(replays_.find(query));
}

void RetainedService::cancel(session::Session& session, std::string_view filter) {
  const auto list = by_subscriber_.find(session.id());
  if (list == by_subscriber_.end()) return;
  const std::vector<uint64_t> queries = list->second;
  for (const uint64_t query : queries) {
    const auto it = replays_.find(query);
    if (it->second.filter == filter) cancel_replay(it);
  }
}

void RetainedService::note_live(session::Session& session, std::string_view topic) {
  if (replays_.empty()) return;
  const auto list = by_subscriber_.find(session.id());
  if (list == by_subscriber_.end()) return;
  for (const uint64_t query : list->second) {
    Replay& replay = replays_.find(query)->second;
    if (replay.seen_live.size() < kMaxSeenLive) replay.seen_live.emplace(topic);
  }
}

void RetainedService::on_room(session::Session& session) {
  if (replays_.empty()) return;
  const auto list = by_subscriber_.find(session.id());
  if (list != by_subscriber_.end()) runnable_.insert(list->second.begin(), list->second.end());
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

// Room is left so that live messages still find a place in the queue.
bool RetainedService::has_room(const Replay& replay) const {
  session::Session* session = core_.sessions->by_id(replay.subscriber);
  if (session == nullptr || session->outlet() == nullptr) return false;
  const config::Mqtt& limits = core_.mqtt;
  const size_t bytes = std::min<size_t>(kMaxBacklog, limits.max_queued_bytes / 2);
  const size_t messages = limits.max_queued_messages == 0 ? kMaxQueued : limits.max_queued_messages / 2;
  return session->outlet()->backlog() <= bytes && session->queued_bytes() <= bytes &&
         session->queue().size() <= std::min(kMaxQueued, messages);
}

bool RetainedService::run(uint64_t query, Replay& replay) {
  int left = kSlice;
  for (; left > 0 && !replay.parked.empty() && has_room(replay); --left) {
    const Replay::Parked parked = std::move(replay.parked.front());
    replay.parked.pop_front();
    const auto source = replay.remotes.find(parked.slot);
    if (source != replay.remotes.end()) source->second.taken += static_cast<int64_t>(parked.message->footprint());
    deliver(replay, parked.message);
  }
  while (left > 0 && replay.local && has_room(replay)) {
    slice_.clear();
    home_.messages().next(*replay.local, 1, core_.now(), slice_);
    for (const bus::MessageRef& message : slice_) deliver(replay, message);
    left -= std::max(1, static_cast<int>(slice_.size()));
    if (replay.local->done()) replay.local.reset();
  }
  give_credit(query, replay);
  return (replay.local || !replay.parked.empty()) && has_room(replay);
}

bool RetainedService::run_slice() {
  bool more = home_.run_slice();
  const std::set<uint64_t> runnable = std::move(runnable_);
  runnable_.clear();
  for (const uint64_t query : runnable) {
    const auto it = replays_.find(query);
    if (it == replays_.end()) continue;
    if (run(query, it->second)) {
      runnable_.insert(query);
      more = true;
    }
    if (it->second.done()) erase(it);
  }
  if (!core_.peers->ready()) return more;  // not all changes that waited for this home have come
  const std::set<ServingKey> servable = std::move(servable_);
  servable_.clear();
  for (const ServingKey& key : servable) {
    const auto it = servings_.find(key);
    if (it == servings_.end()) continue;
    if (serve(key, it->second)) {
      servable_.insert(key);
      more = true;
    }
    if (it->second.cursor.done()) servings_.erase(it);
  }
  return more;
}

void RetainedService::give_credit(uint64_t query, Replay& replay) {
  for (auto& [slot, source] : replay.remotes) {
    if (source.taken < kCredit / 2) continue;
    Peer* peer = core_.peers->find(WorkerId{slot, source.incarnation});
    if (peer == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(query).put<int64_t>(source.taken);
    core_.peers->send(*peer, bus::FrameType::retain_credit, 0, core_.scratch);
    source.taken = 0;
  }
}

bool RetainedService::on_item(Peer& from, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message) return false;
  const auto it = replays_.find(query);
  if (it == replays_.end()) return true;
  it->second.parked.push_back({from.id.slot, message});
  runnable_.insert(query);
  return true;
}

bool RetainedService::on_end(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = replays_.find(query);
  if (it == replays_.end()) return true;
  it->second.remotes.erase(from.id.slot);
  if (it->second.done()) erase(it);
  return true;
}

// --- for other workers' clients ---

bool RetainedService::serve(ServingKey key, Serving& serving) {
  Peer* peer = core_.peers->find(WorkerId{serving.slot, key.peer});
  if (peer == nullptr) return false;
  bus::Writer(core_.scratch).put<uint64_t>(key.query);
  for (int left = kSlice; left > 0 && serving.credit > 0 && !serving.cursor.done();) {
    slice_.clear();
    home_.messages().next(serving.cursor, 1, core_.now(), slice_);
    for (const bus::MessageRef& message : slice_) {
      bus::append_message_frame(peer->link, bus::FrameType::retain_item, 0, core_.scratch, *message);
      serving.credit -= static_cast<int64_t>(message->footprint());
    }
    left -= std::max(1, static_cast<int>(slice_.size()));
  }
  core_.peers->mark_dirty(*peer);
  if (!serving.cursor.done()) return serving.credit > 0;
  core_.peers->send(*peer, bus::FrameType::retain_end, 0, core_.scratch);
  return false;
}

bool RetainedService::on_query(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const auto credit = reader.get<int64_t>();
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty()) return false;
  const ServingKey key{from.id.incarnation, query};
  servings_.insert_or_assign(key, Serving{from.id.slot, router::Retained::Cursor(filter), credit});
  servable_.insert(key);
  return true;
}

bool RetainedService::on_credit(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto query = reader.get<uint64_t>();
  const auto credit = reader.get<int64_t>();
  if (!reader.at_end()) return false;
  const auto it = servings_.find({from.id.incarnation, query});
  if (it == servings_.end()) return true;
  it->second.credit += credit;
  servable_.insert(it->first);
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
  // It may have died before it was linked, and its successor may be there already.
  if (gone.slot == core_.gateway_slot() && core_.peers->find(gone.slot) == nullptr) home_.on_gateway_gone();
  for (auto it = servings_.begin(); it != servings_.end();) {
    it = it->first.peer == gone.incarnation ? servings_.erase(it) : std::next(it);
  }
  for (auto it = replays_.begin(); it != replays_.end();) {
    const auto current = it++;
    const auto source = current->second.remotes.find(gone.slot);
    if (source == current->second.remotes.end() || source->second.incarnation != gone.incarnation) continue;
    current->second.remotes.erase(source);
    current->second.awaited.insert(gone.slot);
  }
}

}  // namespace broker
