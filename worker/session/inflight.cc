#include "worker/session/inflight.h"

namespace session {

Inflight::Entry& Inflight::add(Delivery delivery) {
  while (find(next_id_) != nullptr) next_id_ = next_id_ == 65535 ? 1 : static_cast<uint16_t>(next_id_ + 1);
  Entry& entry = entries_.emplace_back();
  entry.packet_id = next_id_;
  entry.delivery = std::move(delivery);
  next_id_ = next_id_ == 65535 ? 1 : static_cast<uint16_t>(next_id_ + 1);
  ++live_;
  return entry;
}

void Inflight::restore(Entry entry) {
  entries_.push_back(std::move(entry));
  ++live_;
}

// Acknowledgements come in sending order nearly always, so the search ends at the front; and remove() keeps the list
// shorter than three times the client's receive maximum.
Inflight::Entry* Inflight::find(uint16_t packet_id) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].packet_id == packet_id) return &entries_[i];
  }
  return nullptr;
}

void Inflight::remove(Entry& entry) {
  entry.packet_id = 0;
  entry.delivery = Delivery{};
  --live_;
  while (!entries_.empty() && entries_.front().packet_id == 0) entries_.pop_front();
  // A client that never acknowledges its first message must not make a hole of every later one.
  if (entries_.size() <= 2 * size_t{live_} + 16) return;
  base::Ring<Entry> rest;
  for (; !entries_.empty(); entries_.pop_front()) {
    if (entries_.front().packet_id != 0) rest.push_back(std::move(entries_.front()));
  }
  entries_ = std::move(rest);
}

void Inflight::clear() {
  entries_.clear();
  live_ = 0;
}

}  // namespace session
