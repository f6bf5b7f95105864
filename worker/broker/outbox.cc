#include "worker/broker/outbox.h"

#include <algorithm>
#include <string>
#include <utility>

#include "worker/broker/journal.h"

namespace broker {

void Outbox::add(uint32_t slot, store::Purpose purpose, const bus::MessageRef& message,
                 connection::MqttClient* client) {
  Slot& to = slots_[slot];
  Peer::Unstored& entry = to.waiting.emplace_back();
  entry.message = message;
  entry.purpose = purpose;
  if (waits_for_replacement(purpose)) {
    entry.ticket = core_.tickets->wait();
  } else {
    store(slot, entry);
    core_.journal->wait(core_.tickets->wait_here());
  }
  to.bytes += message->footprint();
  if (to.bytes > core_.env.link_credit && client != nullptr) {
    to.held_back.push_back(ref_of(*client));
    client->pause();
  }
}

void Outbox::on_unstored(const WorkerId& peer, base::Ring<Peer::Unstored> unstored) {
  Slot& to = slots_[peer.slot];
  for (; !unstored.empty(); unstored.pop_front()) {
    Peer::Unstored entry = std::move(unstored.front());
    if (!entry.message) continue;
    if (!waits_for_replacement(entry.purpose)) {
      if (entry.number == 0) store(peer.slot, entry);
      core_.journal->wait(std::exchange(entry.ticket, kNoTicket));
    }
    to.bytes += entry.message->footprint();
    to.waiting.push_back(std::move(entry));
  }
}

// A gateway stores nothing: what it has not passed on it has not trimmed.
bool Outbox::waits_for_replacement(store::Purpose purpose) const {
  return purpose == store::Purpose::retain || core_.gateway != nullptr;
}

void Outbox::store(uint32_t slot, Peer::Unstored& entry) {
  entry.number = next_number_++;
  std::string key;
  std::string value;
  store::outbox_key(key, slot, entry.number);
  store::encode_pending(value, entry.purpose, {}, {}, *entry.message, core_.journal->now());
  core_.journal->put(key, value);
}

void Outbox::on_peer_linked(Peer& peer) {
  Slot& from = slots_[peer.id.slot];
  for (Peer::Unstored& entry : std::exchange(from.waiting, {})) {
    const bool retain = entry.purpose == store::Purpose::retain;
    if (entry.message->uid().incarnation != core_.self.incarnation && core_.gateway == nullptr) {
      // From the store of this worker's predecessor: a stream of ours needs a number of ours.
      bus::Message::Fields fields = bus::fields_of(*entry.message);
      fields.uid = core_.next_uid();
      fields.once = entry.message->once();
      entry.message = bus::Message::make(fields);
    }
    core_.peers->send_to_store(peer, retain ? bus::FrameType::retain_set : bus::FrameType::publish, std::move(entry));
  }
  from.bytes = 0;
  for (const ClientRef ref : std::exchange(from.held_back, {})) {
    if (connection::MqttClient* client = core_.clients->find(ref)) client->resume();
  }
}

void Outbox::forget(uint32_t slot, uint64_t number) {
  std::string key;
  store::outbox_key(key, slot, number);
  core_.journal->erase(key);
}

void Outbox::restore(uint32_t slot, uint64_t number, store::Purpose purpose, const bus::MessageRef& message) {
  next_number_ = std::max(next_number_, number + 1);
  if (slot >= slots_.size()) return;
  Peer::Unstored& entry = slots_[slot].waiting.emplace_back();
  entry.message = message;
  entry.purpose = purpose;
  entry.number = number;
  slots_[slot].bytes += message->footprint();
}

size_t Outbox::size() const {
  size_t sum = 0;
  for (const Slot& slot : slots_) sum += slot.waiting.size();
  return sum;
}

}  // namespace broker
