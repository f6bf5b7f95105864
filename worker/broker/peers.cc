#include "worker/broker/peers.h"

#include <algorithm>
#include <utility>

#include "shared/base/check.h"
#include "shared/bus/message_codec.h"
#include "shared/bus/publish_frame.h"
#include "worker/broker/departures.h"
#include "worker/broker/gateway.h"
#include "worker/broker/outbox.h"

namespace broker {

class Peers::Handler final : public bus::FrameHandler {
 public:
  Handler(Peers& peers, Peer& peer) : peers_(peers), peer_(peer) {}
  bool on_frame(uint8_t type, uint8_t flags, std::string_view body, const base::BufferRef& attachment) override {
    if (type == static_cast<uint8_t>(bus::FrameType::sync_end)) {
      const auto told = static_cast<Told>(body.empty() ? 0 : body[0]);
      if (body.size() > 1 || told > Told::unheard) return false;
      peer_.synced = true;
      peers_.events_.on_peer_synced(peer_.id, told);
      peers_.check_ready();
      return true;
    }
    if (type == static_cast<uint8_t>(bus::FrameType::stored)) return peers_.on_stored(peer_, body);
    return peers_.events_.on_peer_frame(peer_, static_cast<bus::FrameType>(type), flags, body, attachment);
  }

 private:
  Peers& peers_;
  Peer& peer_;
};

Peers::Peers(Core& core, PeerEvents& events) : core_(core), events_(events), by_slot_(core.slots) {}

bool Peers::is_current(const PeerId& id) const {
  return std::find(live_.begin(), live_.end(), id) != live_.end();
}

bool Peers::is_live(const WorkerId& id) const {
  return is_current({id.slot, id.incarnation});
}

Peer* Peers::find(const WorkerId& id) {
  Peer* peer = find(id.slot);
  return peer != nullptr && peer->id == id ? peer : nullptr;
}

bool Peers::may_say_more(uint64_t incarnation) const {
  for (const auto& peer : by_slot_) {
    if (peer && peer->id.incarnation == incarnation) return true;
  }
  return std::any_of(live_.begin(), live_.end(), [=](const PeerId& id) { return id.incarnation == incarnation; });
}

void Peers::set_live(const std::vector<PeerId>& live) {
  live_ = live;
  have_live_ = true;
  check_ready();
}

bus::Link* Peers::link(PeerId id) {
  if (id.slot >= by_slot_.size() || id.slot == core_.self.slot) return nullptr;
  auto& place = by_slot_[id.slot];
  if (place) return place->id.incarnation == id.incarnation ? &place->link : nullptr;
  if (!is_current(id) || core_.departures->pending(id.slot)) return nullptr;
  place = std::make_unique<Peer>(WorkerId{id.slot, id.incarnation}, *core_.env.pool);
  const bool all = events_.on_peer_linked(*place);
  if (all) end_sync(*place, core_.gateway != nullptr ? core_.gateway->told() : Told::all);
  return &place->link;
}

void Peers::end_sync(Peer& peer, Told told) {
  peer.told = told;
  const char body = static_cast<char>(told);
  send(peer, bus::FrameType::sync_end, bus::kAckSoon, {&body, told == Told::all ? 0u : 1u});
  note_announced(peer, announcement_);
}

void Peers::finish_sync(Told told) {
  for_each([this, told](Peer& peer) {
    if (peer.told != Told::all && peer.told != told) end_sync(peer, told);
  });
}

bool Peers::connected(PeerId id, uint64_t peer_received) {
  bus::Link* l = link(id);
  if (l == nullptr || !l->connected(peer_received)) return false;
  mark_dirty(*by_slot_[id.slot]);
  run_marks(*by_slot_[id.slot]);
  return true;
}

void Peers::disconnected(PeerId id) {
  if (Peer* peer = find(WorkerId{id.slot, id.incarnation})) peer->link.disconnected();
}

bool Peers::bytes(PeerId id, std::string_view bytes) {
  Peer* peer = find(WorkerId{id.slot, id.incarnation});
  if (peer == nullptr) return false;
  core_.page.add(metrics::Counter::bus_bytes_received, bytes.size());
  Handler handler(*this, *peer);
  if (!peer->link.on_bytes(bytes, handler)) return false;
  mark_dirty(*peer);  // an acknowledgement may be due
  run_marks(*peer);
  return true;
}

// What waited for the dead peer waits no more: its share of the promise died with it.
void Peers::gone(PeerId id) {
  auto& place = by_slot_[id.slot];
  live_.erase(std::remove(live_.begin(), live_.end(), id), live_.end());
  if (place && place->id.incarnation == id.incarnation) {
    const std::unique_ptr<Peer> peer = std::move(place);
    std::erase(dirty_, id.slot);
    base::Ring<Peer::Mark>& marks = peer->until_written;
    for (; !marks.empty(); marks.pop_front()) complete(marks.front());
    events_.on_unstored(peer->id, std::move(peer->unstored));
    events_.on_peer_gone(peer->id);
    for (const Peer::HeldBack& held : peer->held_back) {
      if (connection::MqttClient* client = core_.clients->find(held.client)) client->resume();
    }
  } else {
    events_.on_peer_gone({id.slot, id.incarnation});
  }
  forget_long_dead();
  run_announced();
  run_readings(id.incarnation, UINT64_MAX);
  check_ready();
}

void Peers::forget_long_dead() {
  std::vector<uint64_t> dead;
  for (const auto& [incarnation, sequence] : core_.seen) {
    if (is_dead(incarnation)) dead.push_back(incarnation);
  }
  for (size_t i = 0; i + Core::kSeenDead < dead.size(); ++i) core_.seen.erase(dead[i]);
}

void Peers::check_ready() {
  if (ready_ || !have_live_) return;
  for (const PeerId& id : live_) {
    if (id.slot == core_.self.slot) continue;
    const Peer* peer = find(WorkerId{id.slot, id.incarnation});
    if (peer == nullptr || !peer->synced) return;
  }
  // A slot that nobody is in now has durable sessions, too: what they want must be known.
  for (uint32_t slot = 0; slot < core_.slots; ++slot) {
    const Peer* peer = find(slot);
    if (slot != core_.self.slot && (peer == nullptr || !peer->synced)) return;
  }
  ready_ = true;
  events_.on_all_synced();
}

bool Peers::all_recovered() const {
  for (uint32_t slot = 0; slot < core_.slots; ++slot) {
    if (slot != core_.self.slot && (by_slot_[slot] == nullptr || !by_slot_[slot]->recovered)) return false;
  }
  return ready_;
}

void Peers::send(Peer& peer, bus::FrameType type, uint8_t flags, std::string_view body) {
  char* place = peer.link.append(static_cast<uint8_t>(type), flags, body.size());
  std::copy(body.begin(), body.end(), place);
  mark_dirty(peer);
}

void Peers::mark_dirty(Peer& peer) {
  if (peer.pending_flush) return;
  peer.pending_flush = true;
  dirty_.push_back(peer.id.slot);
}

void Peers::wait_written(Peer& peer, TicketId ticket) {
  if (ticket == kNoTicket) return;
  Peer::Mark& mark = peer.until_written.emplace_back();
  mark.position = peer.link.end();
  mark.ticket = ticket;
}

// A client's messages come one after the other: those of a turn are one mark, and their answers one visit to it. What
// is partly written already is not put off by what follows.
void Peers::answer_when_written(Peer& peer, uint64_t begin, ClientRef client, uint64_t pending) {
  if (!peer.until_written.empty()) {
    Peer::Mark& last = peer.until_written.back();
    if (last.ticket == kNoTicket && last.client == client && last.pending + last.count == pending &&
        last.begin >= peer.link.written()) {
      last.position = peer.link.end();
      ++last.count;
      return;
    }
  }
  Peer::Mark& mark = peer.until_written.emplace_back();
  mark.position = peer.link.end();
  mark.begin = begin;
  mark.pending = pending;
  mark.count = 1;
  mark.client = client;
}

void Peers::complete(const Peer::Mark& mark) {
  if (mark.ticket != kNoTicket) {
    core_.tickets->done(mark.ticket);
  } else if (connection::MqttClient* client = core_.clients->find(mark.client)) {
    client->publishes_complete(mark.pending, mark.count);
  }
}

void Peers::send_to_store(Peer& peer, bus::FrameType type, Peer::Unstored what) {
  if (type == bus::FrameType::publish) {
    bus::append_publish_frame(peer.link, bus::kWantStored, bus::fields_of(*what.message), core_.self.incarnation);
  } else {
    bus::append_message_frame(peer.link, type, bus::kWantStored, {}, *what.message);
  }
  peer.unstored_bytes += what.message->footprint();
  peer.unstored.push_back(std::move(what));
  mark_dirty(peer);
}

// Mostly in order; what waits for a takeover's end comes later than what follows it.
bool Peers::on_stored(Peer& peer, std::string_view body) {
  bus::Reader reader(body);
  while (!reader.at_end()) {
    const auto answer = reader.get<uint64_t>();
    const uint64_t wanted = answer & ~bus::kRefused;
    if (!reader.ok() || wanted < peer.first_unstored || wanted - peer.first_unstored >= peer.unstored.size())
      return false;
    Peer::Unstored& entry = peer.unstored[static_cast<size_t>(wanted - peer.first_unstored)];
    if (!entry.message) return false;
    peer.unstored_bytes -= entry.message->footprint();
    entry.message = bus::MessageRef();
    if (entry.number != 0) core_.outbox->forget(peer.id.slot, entry.number);
    if (wanted != answer) core_.tickets->refused(entry.ticket);
    core_.tickets->done(std::exchange(entry.ticket, kNoTicket));
  }
  while (!peer.unstored.empty() && !peer.unstored.front().message) {
    peer.unstored.pop_front();
    ++peer.first_unstored;
  }
  return true;
}

void Peers::confirm(const WorkerId& id, uint64_t wanted) {
  Peer* peer = find(id);
  if (peer == nullptr) return;
  peer->confirmed.push_back(wanted);
  mark_dirty(*peer);
}

void Peers::hold_back(Peer& peer, connection::MqttClient& client) {
  peer.held_back.push_back({ref_of(client), core_.now()});
  client.pause();
}

void Peers::close_held_back() {
  const auto most = static_cast<base::MonoMs>(core_.config.redis.full_timeout * 1000);
  Peer* gateway = core_.gateway_slot() == Core::kNoSlot ? nullptr : find(core_.gateway_slot());
  if (most == 0 || gateway == nullptr) return;
  auto& held = gateway->held_back;
  const auto over =
      std::find_if(held.begin(), held.end(), [&](const Peer::HeldBack& h) { return core_.now() - h.since < most; });
  const std::vector<Peer::HeldBack> closing(held.begin(), over);
  held.erase(held.begin(), over);
  for (const Peer::HeldBack& h : closing) {
    connection::MqttClient* client = core_.clients->find(h.client);
    if (client == nullptr) continue;
    core_.page.add(metrics::Counter::publishers_closed_full);
    client->close(proto::ReasonCode::quota_exceeded, "too much waits for other hosts");
  }
}

void Peers::note_announced(Peer& peer, uint64_t number) {
  if (number == 0) return;
  const bool stored_there = core_.gateway != nullptr && peer.id.slot == 0;
  if (peer.id.slot != core_.gateway_slot() && !stored_there) {
    peer.announced.push_back({number, peer.link.end()});
    return;
  }
  // That it has read it is not enough: the gateway's other hosts must; and worker 0 stores what those want.
  peer.announced.push_back({number, Peer::kUntilMarked});
  std::string body;
  bus::Writer(body).put<uint64_t>(number);
  send(peer, bus::FrameType::mark, bus::kAckSoon, body);
}

bool Peers::on_marked(Peer& peer, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  while (!peer.announced.empty() && peer.announced.front().number <= number) peer.announced.pop_front();
  run_announced();
  return true;
}

void Peers::when_announced(uint64_t number, std::function<void()> then) {
  run_announced();
  if (announced_everywhere(number)) {
    then();
  } else {
    waiting_announced_.emplace(number, std::move(then));
  }
}

void Peers::run_marks(Peer& peer) {
  if (peer.link.written() > peer.counted) {
    core_.page.add(metrics::Counter::bus_bytes_sent, peer.link.written() - peer.counted);
    peer.counted = peer.link.written();
  }
  // Before the first connection nothing is written; after a resend `written` may fall back, but what was written once
  // and not acknowledged is still ours to deliver: marks already run stay run.
  base::Ring<Peer::Mark>& marks = peer.until_written;
  while (!marks.empty() && marks.front().position <= peer.link.written()) {
    const Peer::Mark mark = marks.front();
    marks.pop_front();
    complete(mark);
  }
  bool moved = false;
  while (!peer.announced.empty() && peer.announced.front().position <= peer.link.acked()) {
    peer.announced.pop_front();
    moved = true;
  }
  if (moved) run_announced();
  if (!readings_.empty()) run_readings(peer.id.incarnation, peer.link.acked());
  if (!peer.held_back.empty() && has_credit(peer)) {
    for (const Peer::HeldBack& held : std::exchange(peer.held_back, {})) {
      if (connection::MqttClient* client = core_.clients->find(held.client)) client->resume();
    }
  }
}

void Peers::ask_to_acknowledge() {
  for_each([this](Peer& peer) { send(peer, bus::FrameType::stored, bus::kAckSoon, {}); });  // of nothing
}

void Peers::await_reading(bool gateway_too, std::function<void()> then) {
  Reading reading;
  for_each([&](const Peer& peer) {
    if (gateway_too || peer.id.slot != core_.gateway_slot()) reading.awaited[peer.id.incarnation] = peer.link.end();
  });
  if (reading.awaited.empty()) return then();
  reading.then = std::move(then);
  readings_.push_back(std::move(reading));
}

void Peers::run_readings(uint64_t incarnation, uint64_t acked) {
  std::vector<std::function<void()>> done;
  std::erase_if(readings_, [&](Reading& reading) {
    const auto it = reading.awaited.find(incarnation);
    if (it != reading.awaited.end() && it->second <= acked) reading.awaited.erase(it);
    if (!reading.awaited.empty()) return false;
    done.push_back(std::move(reading.then));
    return true;
  });
  for (const auto& then : done) then();
}

void Peers::run_announced() {
  uint64_t everywhere = announcement_;
  for_each([&](const Peer& peer) {
    if (!peer.announced.empty()) everywhere = std::min(everywhere, peer.announced.front().number - 1);
  });
  announced_everywhere_ = everywhere;
  while (!waiting_announced_.empty() && waiting_announced_.begin()->first <= announced_everywhere_) {
    const auto first = waiting_announced_.begin();
    const std::function<void()> then = std::move(first->second);
    waiting_announced_.erase(first);
    then();
  }
}

void Peers::progress(PeerId id) {
  if (Peer* peer = find(WorkerId{id.slot, id.incarnation})) run_marks(*peer);
}

void Peers::end_of_turn() {
  // Completions may append to links again (a resumed publisher): go round until nothing is dirty.
  for (size_t i = 0; i < dirty_.size(); ++i) {
    Peer* peer = find(dirty_[i]);
    if (peer == nullptr) continue;
    if (!peer->confirmed.empty()) {
      bus::Writer writer(core_.scratch);
      for (const uint64_t wanted : std::exchange(peer->confirmed, {})) writer.put<uint64_t>(wanted);
      send(*peer, bus::FrameType::stored, 0, core_.scratch);
    }
    peer->pending_flush = false;
    peer->link.acknowledge_if_due();
    if (peer->link.waiting() && peer->link.is_connected()) core_.env.flush_link(peer->id.slot, peer->link);
    run_marks(*peer);
  }
  dirty_.clear();
}

}  // namespace broker
