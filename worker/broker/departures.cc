#include "worker/broker/departures.h"

#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"

namespace broker {

void Departures::tell(Peer& peer, const WorkerId& gone, bool ask) {
  bus::Writer(core_.scratch).put<uint32_t>(gone.slot).put<uint64_t>(gone.incarnation).put<uint8_t>(ask);
  core_.peers->send(peer, bus::FrameType::departed, bus::kAckSoon, core_.scratch);
}

void Departures::on_peer_gone(const WorkerId& gone) {
  // Nobody waits for the dead.
  for (auto it = departures_.begin(); it != departures_.end();) {
    const auto current = it++;
    current->second.awaited.erase(gone.incarnation);
    finish_if_done(current);
  }
  for (auto it = said_early_.begin(); it != said_early_.end();) {
    it->second.erase(gone.incarnation);
    it = it->second.empty() ? said_early_.erase(it) : std::next(it);
  }
  std::set<uint64_t> said;
  if (const auto early = said_early_.find(gone.incarnation); early != said_early_.end()) {
    said = std::move(early->second);
    said_early_.erase(early);
  }
  Departure& departure = departures_[gone.incarnation];
  departure.who = gone;
  slots_.insert(gone.slot);
  core_.peers->for_each([&](Peer& peer) {
    tell(peer, gone, true);
    if (!said.contains(peer.id.incarnation)) departure.awaited.insert(peer.id.incarnation);
  });
  finish_if_done(departures_.find(gone.incarnation));
}

bool Departures::on_departed(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  WorkerId gone;
  gone.slot = reader.get<uint32_t>();
  gone.incarnation = reader.get<uint64_t>();
  const bool ask = reader.get<uint8_t>() != 0;
  if (!reader.at_end() || gone.slot >= core_.slots) return false;
  const bool here = core_.peers->find(gone) != nullptr || core_.peers->is_live(gone);
  // What we said before may have come when the asker could not note it: an answer is always due.
  if (ask && !here) tell(from, gone, false);
  if (here) {
    said_early_[gone.incarnation].insert(from.id.incarnation);
  } else if (const auto it = departures_.find(gone.incarnation); it != departures_.end()) {
    it->second.awaited.erase(from.id.incarnation);
    finish_if_done(it);
  }
  return true;
}

bool Departures::concerns(const router::PeerSet& peers) const {
  for (const uint32_t slot : slots_) {
    if (peers.contains(slot)) return true;
  }
  return false;
}

void Departures::hold(const bus::MessageRef& message, connection::MqttClient* client, const AcceptedRecord& record) {
  Held& held = held_.emplace_back();
  held.message = message;
  held.ticket = core_.tickets->wait();
  held.record = record;
  if (client == nullptr) return;
  held.client = ref_of(*client);
  client->pause();
}

void Departures::finish_if_done(std::map<uint64_t, Departure>::iterator it) {
  if (!it->second.awaited.empty()) return;
  const WorkerId gone = it->second.who;
  departures_.erase(it);
  slots_.erase(gone.slot);
  core_.tree.keep_durable(gone.slot);
  if (core_.gateway != nullptr) core_.gateway->on_worker_left(gone.slot);
  // Everything is routed afresh; what another dead worker's routes still concern is held again.
  const std::vector<Held> held = std::move(held_);
  held_.clear();
  for (const Held& h : held) {
    core_.publisher->publish_again(h.message, core_.clients->find(h.client), h.ticket, h.record);
  }
  for (const Held& h : held) {
    connection::MqttClient* client = core_.clients->find(h.client);
    if (client != nullptr) client->resume();
  }
}

}  // namespace broker
