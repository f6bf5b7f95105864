#include "worker/broker/accepted.h"

#include <string>
#include <utility>

#include "worker/broker/host_life.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/publisher.h"

namespace broker {

void Accepted::accept(bus::Message::Fields fields, ClientRef publisher, std::function<void(proto::ReasonCode)> routed) {
  const auto [number, message] = this->number(fields);
  write(number, *message, false);
  core_.journal->then([this, number = number, message = message, publisher, then = std::move(routed)] {
    if (core_.peers->ready()) {
      route(number, message, false, publisher, then);
    } else {
      restored_[number] = {message, false};  // a will of a session that has just been loaded
    }
  });
}

std::pair<uint64_t, bus::MessageRef> Accepted::number(bus::Message::Fields& fields) {
  const uint64_t number = std::max(next_number_, core_.env.clock->wall_us());
  next_number_ = number + 1;
  fields.uid = {core_.self.incarnation, number | kAccepted};
  fields.once = fields.uid;
  return {number, bus::Message::make(fields)};
}

void Accepted::keep_unsure(bus::Message::Fields fields, uint64_t epoch) {
  const auto [number, message] = this->number(fields);
  std::string key;
  std::string value;
  store::accepted_key(key, number);
  store::encode_unsure(value, epoch, *message, core_.journal->now());
  core_.journal->put(key, value);
  unsure_[number] = {message, epoch};
}

void Accepted::give_up(uint64_t epoch, uint64_t number) {
  std::erase_if(unsure_, [&](const auto& item) {
    if (item.second.epoch > epoch) return false;
    forget(item.first);
    return true;
  });
  std::erase_if(restored_, [&](const auto& item) {
    if (item.first >= number) return false;
    forget(item.first);
    return true;
  });
}

// Later ones have been routed meanwhile, so they get other numbers: a lower one would be taken for a repetition.
void Accepted::on_life_known() {
  for (const auto& [number, unsure] : std::exchange(unsure_, {})) {
    forget(number);
    accept(bus::fields_of(*unsure.message), {}, nullptr);
    core_.page.add(metrics::Counter::wills_published);
  }
  if (core_.peers->ready()) route_restored();
}

void Accepted::forget(uint64_t number) {
  std::string key;
  store::accepted_key(key, number);
  core_.journal->erase(key);
}

void Accepted::write(uint64_t number, const bus::Message& message, bool placed) {
  std::string key;
  std::string value;
  store::accepted_key(key, number);
  store::encode_pending(value, placed ? store::Purpose::publish_placed : store::Purpose::publish, {}, {}, message,
                        core_.journal->now());
  core_.journal->put(key, value);
}

void Accepted::route(uint64_t number, const bus::MessageRef& message, bool placed, ClientRef publisher,
                     const std::function<void(proto::ReasonCode)>& routed) {
  // A retained message is answered when its home has it: who publishes after that answer is to win.
  const bool when_done = message->retain() && routed;
  AcceptedRecord record;
  record.forget = [this, number] { forget(number); };
  record.note_placed = [this, number, message] { write(number, *message, true); };
  record.placed = placed;
  const proto::ReasonCode reason = core_.publisher->publish_accepted(message, core_.clients->find(publisher),
                                                                     std::move(record), when_done ? routed : nullptr);
  if (routed && !when_done) routed(reason);
}

void Accepted::restore(uint64_t number, const store::PendingRecord& record) {
  next_number_ = std::max(next_number_, number + 1);
  if (record.purpose == store::Purpose::publish_unsure) {
    unsure_[number] = {record.message, record.epoch};
  } else {
    restored_[number] = {record.message, record.purpose == store::Purpose::publish_placed};
  }
}

void Accepted::on_ready() {
  if (!core_.config.clustered()) on_life_known();
  if (core_.life->unsure_until() == 0) route_restored();
}

void Accepted::route_restored() {
  for (const auto& [number, restored] : std::exchange(restored_, {})) {
    route(number, restored.message, restored.placed, {}, nullptr);
  }
}

}  // namespace broker
