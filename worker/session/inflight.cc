#include "worker/session/inflight.h"

#include <utility>

namespace session {
namespace {

uint16_t after(uint16_t id) {
  return id == 65535 ? 1 : static_cast<uint16_t>(id + 1);
}

}  // namespace

Inflight::Entry& Inflight::add(Delivery delivery) {
  while (find(next_id_) != nullptr) next_id_ = after(next_id_);
  Entry entry;
  entry.packet_id = next_id_;
  entry.delivery = std::move(delivery);
  next_id_ = after(next_id_);
  return append(std::move(entry));
}

void Inflight::restore(Entry entry) {
  append(std::move(entry));
}

Inflight::Entry& Inflight::append(Entry entry) {
  if (!entries_.empty() && !places_ && entry.packet_id != id_at(entries_.size())) note_places();
  if (places_) places_->emplace(entry.packet_id, gone_ + entries_.size());
  ++live_;
  return entries_.emplace_back(std::move(entry));
}

Inflight::Entry* Inflight::find(uint16_t packet_id) {
  if (entries_.empty() || packet_id == 0) return nullptr;
  if (places_) {
    const auto it = places_->find(packet_id);
    return it == places_->end() ? nullptr : &entries_[it->second - gone_];
  }
  const size_t i = (packet_id + 65535u - entries_.front().packet_id) % 65535;
  return i < entries_.size() && entries_[i].packet_id != 0 ? &entries_[i] : nullptr;
}

void Inflight::remove(Entry& entry) {
  if (places_) places_->erase(entry.packet_id);
  entry.packet_id = 0;
  entry.delivery = Delivery{};
  --live_;
  for (; !entries_.empty() && entries_.front().packet_id == 0; ++gone_) entries_.pop_front();
  if (entries_.empty()) places_.reset();
  // A client that never acknowledges its first message must not make a hole of every later one.
  if (entries_.size() > 2 * size_t{live_} + 16) drop_holes();
}

void Inflight::drop_holes() {
  base::Ring<Entry> rest;
  for (; !entries_.empty(); entries_.pop_front()) {
    if (entries_.front().packet_id != 0) rest.push_back(std::move(entries_.front()));
  }
  entries_ = std::move(rest);
  note_places();
}

void Inflight::note_places() {
  places_ = std::make_unique<Places>();
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].packet_id != 0) places_->emplace(entries_[i].packet_id, gone_ + i);
  }
}

void Inflight::clear() {
  entries_.clear();
  places_.reset();
  live_ = 0;
}

}  // namespace session
