#include "worker/session/session.h"

#include <algorithm>
#include <utility>

#include "worker/session/takeover_state.h"

namespace session {
namespace {
// While this much waits for a client's socket, its queue is not pumped.
constexpr size_t kHighWater = 1 << 20;
}  // namespace

Session::Session(const Shared& shared, std::string client_id, router::SubscriberId id)
    : shared_(shared), client_id_(std::move(client_id)), id_(id) {}

Session::~Session() {
  clear_messages();
}

bool Session::has_incoming(uint16_t packet_id) const {
  return std::binary_search(incoming_qos2.begin(), incoming_qos2.end(), packet_id);
}

void Session::add_incoming(uint16_t packet_id) {
  const auto it = std::lower_bound(incoming_qos2.begin(), incoming_qos2.end(), packet_id);
  if (it != incoming_qos2.end() && *it == packet_id) return;
  incoming_qos2.insert(it, packet_id);
  if (stored()) shared_.recorder->incoming(*this, packet_id, true);
}

bool Session::remove_incoming(uint16_t packet_id) {
  const auto it = std::lower_bound(incoming_qos2.begin(), incoming_qos2.end(), packet_id);
  if (it == incoming_qos2.end() || *it != packet_id) return false;
  incoming_qos2.erase(it);
  if (stored()) shared_.recorder->incoming(*this, packet_id, false);
  return true;
}

void Session::detach() {
  outlet_ = nullptr;
  unsent_stored_.clear();  // all of it is sent, or sent again, to the next client
}

void Session::attach(Outlet& outlet) {
  outlet_ = &outlet;
  unsent_ = 0;
  inflight_.for_each([&](Inflight::Entry& entry) {
    entry.unsent = entry.state == Inflight::State::publish;
    if (entry.unsent) ++unsent_;
  });
  inflight_.for_each([&](const Inflight::Entry& entry) {
    if (entry.state == Inflight::State::pubrel) outlet_->send_pubrel(entry.packet_id);
  });
  pump();
}

// The client may have come back with a smaller receive maximum than what is in flight. [MQTT-3.3.4-9]
void Session::resend() {
  std::vector<uint16_t> too_large;
  inflight_.for_each([&](Inflight::Entry& entry) {
    if (unsent_ == 0 || inflight_.size() - unsent_ >= window()) return false;
    if (!entry.unsent) return true;
    entry.unsent = false;
    --unsent_;
    const bool dup = std::exchange(entry.tried, true);
    if (outlet_->send_publish(entry.delivery, entry.packet_id, dup) == Outlet::Sent::too_large) {
      too_large.push_back(entry.packet_id);
    }
    return true;
  });
  for (const uint16_t id : too_large) {
    release(*inflight_.find(id));
    shared_.page.add(metrics::Counter::publish_dropped_size);
  }
}

void Session::release(Inflight::Entry& entry) {
  if (entry.unsent) --unsent_;
  forget(entry.delivery);
  inflight_.remove(entry);
  shared_.page.add(metrics::Gauge::inflight_messages, -1);
}

void Session::forget(const Delivery& delivery) {
  if (delivery.records != 0) shared_.recorder->removed(*this, delivery);
}

size_t Session::window() const {
  return std::min<size_t>(outlet_->receive_maximum(), shared_.config->max_inflight);
}

template <typename Send>
Session::Result Session::send_at_most_once(base::MonoMs expires_at, Send send) {
  if (outlet_ == nullptr) return Result::dropped;
  if (expires_at != 0 && shared_.clock->now_ms() >= expires_at) {
    shared_.page.add(metrics::Counter::publish_dropped_expired);
    return Result::dropped;
  }
  if (outlet_->backlog() + queued_bytes_ > shared_.config->max_queued_bytes) {
    shared_.page.add(metrics::Counter::publish_dropped_slow);
    if (shared_.config->queue_full == config::QueueFull::disconnect) outlet_->on_queue_full();
    return Result::dropped_full;
  }
  if (send() == Outlet::Sent::too_large) {
    shared_.page.add(metrics::Counter::publish_dropped_size);
    return Result::dropped;
  }
  return Result::accepted;
}

Session::Result Session::deliver_unkept(const bus::Message::Fields& message, uint32_t subscription) {
  return send_at_most_once(message.expires_at, [&] { return outlet_->send_unkept(message, subscription); });
}

Session::Result Session::deliver(Delivery delivery) {
  if (delivery.qos == proto::QoS::at_most_once) {
    return send_at_most_once(delivery.message->expires_at(), [&] { return outlet_->send_publish(delivery, 0, false); });
  }
  if (outlet_ == nullptr && !durable()) return Result::dropped;
  if (outlet_ != nullptr && queue_.empty() && inflight_.size() < window() && outlet_->backlog() < kHighWater) {
    send_now(std::move(delivery));
    return Result::accepted;
  }
  return enqueue(std::move(delivery));
}

bool Session::send_now(Delivery delivery) {
  if (delivery.message->expires_at() != 0 && delivery.message->expired(shared_.clock->now_ms())) {
    shared_.page.add(metrics::Counter::publish_dropped_expired);
    forget(delivery);
    return false;
  }
  Inflight::Entry& entry = inflight_.add(std::move(delivery));
  shared_.page.add(metrics::Gauge::inflight_messages, 1);
  if (stored()) {
    shared_.recorder->in_flight(*this, entry);
    send_when_stored(entry);
    return true;
  }
  const uint16_t packet_id = entry.packet_id;
  send(entry);
  return inflight_.find(packet_id) != nullptr;
}

void Session::send_when_stored(Inflight::Entry& entry) {
  unsent_stored_.push_back({shared_.recorder->batch(), entry.packet_id});
  shared_.recorder->wait_to_send(*this);
}

void Session::on_stored(uint64_t batch) {
  while (outlet_ != nullptr && !unsent_stored_.empty() && unsent_stored_.front().batch <= batch) {
    const uint16_t packet_id = unsent_stored_.front().packet_id;
    unsent_stored_.pop_front();
    if (Inflight::Entry* entry = inflight_.find(packet_id)) send(*entry);
  }
}

// A message that does not fit the client is dropped as if it had been delivered [MQTT-3.1.2-25].
void Session::send(Inflight::Entry& entry) {
  if (entry.state == Inflight::State::pubrel) {
    outlet_->send_pubrel(entry.packet_id);
    return;
  }
  const bool dup = std::exchange(entry.tried, true);
  if (outlet_->send_publish(entry.delivery, entry.packet_id, dup) == Outlet::Sent::too_large) {
    release(entry);
    shared_.page.add(metrics::Counter::publish_dropped_size);
  }
}

Session::Result Session::enqueue(Delivery delivery) {
  const config::Mqtt& limits = *shared_.config;
  const size_t bytes = delivery.message->footprint();
  auto full = [&] {
    return (limits.max_queued_messages != 0 && queue_.size() >= limits.max_queued_messages) ||
           queued_bytes_ + bytes > limits.max_queued_bytes;
  };
  if (limits.queue_full == config::QueueFull::drop_old && bytes <= limits.max_queued_bytes) {
    while (full() && !queue_.empty()) {
      account(-1, -static_cast<int64_t>(queue_.front().message->footprint()));
      forget(queue_.front());
      queue_.pop_front();
      shared_.page.add(metrics::Counter::publish_dropped_queue);
    }
  }
  if (full()) {
    shared_.page.add(metrics::Counter::publish_dropped_queue);
    if (limits.queue_full == config::QueueFull::disconnect && outlet_ != nullptr) outlet_->on_queue_full();
    return Result::dropped_full;
  }
  keep(std::move(delivery));
  return Result::accepted;
}

void Session::keep(Delivery delivery) {
  if (stored()) shared_.recorder->queued(*this, delivery);
  restore(std::move(delivery));
}

void Session::restore(Delivery delivery) {
  account(1, static_cast<int64_t>(delivery.message->footprint()));
  queue_.push_back(std::move(delivery));
}

void Session::account(int64_t messages, int64_t bytes) {
  queued_bytes_ = static_cast<size_t>(static_cast<int64_t>(queued_bytes_) + bytes);
  shared_.page.add(metrics::Gauge::queued_messages, messages);
  shared_.page.add(metrics::Gauge::queued_bytes, bytes);
}

void Session::pump() {
  if (pumping_) return;
  pumping_ = true;
  while (outlet_ != nullptr && unsent_ != 0 && inflight_.size() - unsent_ < window()) resend();
  while (outlet_ != nullptr && !queue_.empty() && inflight_.size() < window() && outlet_->backlog() < kHighWater) {
    Delivery next = std::move(queue_.front());
    queue_.pop_front();
    account(-1, -static_cast<int64_t>(next.message->footprint()));
    send_now(std::move(next));
  }
  pumping_ = false;
}

bool Session::on_puback(uint16_t packet_id) {
  Inflight::Entry* entry = inflight_.find(packet_id);
  if (entry == nullptr || entry->delivery.qos != proto::QoS::at_least_once) return false;
  release(*entry);
  pump();
  return true;
}

bool Session::on_pubrec(uint16_t packet_id, bool error) {
  Inflight::Entry* entry = inflight_.find(packet_id);
  if (entry == nullptr || entry->delivery.qos != proto::QoS::exactly_once) return false;
  if (error) {
    release(*entry);
    pump();
    return true;
  }
  if (entry->unsent) --unsent_;
  entry->unsent = false;
  entry->state = Inflight::State::pubrel;
  entry->delivery.message = bus::MessageRef();
  if (stored()) {
    shared_.recorder->in_flight(*this, *entry);
    send_when_stored(*entry);
  } else {
    outlet_->send_pubrel(packet_id);
  }
  return true;
}

bool Session::on_pubcomp(uint16_t packet_id) {
  Inflight::Entry* entry = inflight_.find(packet_id);
  if (entry == nullptr || entry->state != Inflight::State::pubrel) return false;
  release(*entry);
  pump();
  return true;
}

std::vector<Delivery> Session::take_shared(const std::function<bool(const GroupName&)>& from) {
  std::vector<Delivery> taken;
  if (queue_.empty() && inflight_.empty()) return taken;
  std::vector<uint16_t> ids;
  inflight_.for_each([&](Inflight::Entry& entry) {
    if (outlet_ == nullptr && entry.delivery.group && entry.delivery.qos == proto::QoS::at_least_once &&
        from(*entry.delivery.group)) {
      ids.push_back(entry.packet_id);
    }
  });
  for (const uint16_t id : ids) {
    Inflight::Entry* entry = inflight_.find(id);
    taken.push_back(std::move(entry->delivery));
    entry->delivery.records = 0;
    release(*entry);
  }
  base::Ring<Delivery> rest;
  for (; !queue_.empty(); queue_.pop_front()) {
    if (!queue_.front().group || !from(*queue_.front().group)) {
      rest.push_back(std::move(queue_.front()));
      continue;
    }
    account(-1, -static_cast<int64_t>(queue_.front().message->footprint()));
    taken.push_back(std::move(queue_.front()));
  }
  queue_ = std::move(rest);
  return taken;
}

void Session::clear_messages() {
  shared_.page.add(metrics::Gauge::inflight_messages, -static_cast<int64_t>(inflight_.size()));
  inflight_.clear();
  unsent_ = 0;
  unsent_stored_.clear();
  if (!queue_.empty()) account(-static_cast<int64_t>(queue_.size()), -static_cast<int64_t>(queued_bytes_));
  queue_.clear();
}

}  // namespace session
