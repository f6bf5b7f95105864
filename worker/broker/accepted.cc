#include "worker/broker/accepted.h"

#include <algorithm>
#include <string>
#include <utility>

#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/publisher.h"

namespace broker {

void Accepted::accept(bus::Message::Fields fields, ClientRef publisher, std::function<void(proto::ReasonCode)> routed) {
  const uint64_t number = next_number_++;
  fields.uid = {core_.self.incarnation, number | kAccepted};
  fields.once = fields.uid;
  const bus::MessageRef message = bus::Message::make(fields);
  write(number, *message, false);
  core_.journal->then([this, number, message, publisher, then = std::move(routed)] {
    if (core_.peers->ready()) {
      route(number, message, false, publisher, then);
    } else {
      restored_[number] = {message, false};  // a will of a session that has just been loaded
    }
  });
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
  Publisher::AcceptedRecord record;
  record.forget = [this, number] {
    std::string key;
    store::accepted_key(key, number);
    core_.journal->erase(key);
  };
  record.note_placed = [this, number, message] { write(number, *message, true); };
  record.placed = placed;
  const proto::ReasonCode reason = core_.publisher->publish_accepted(message, core_.clients->find(publisher),
                                                                     std::move(record), when_done ? routed : nullptr);
  if (routed && !when_done) routed(reason);
}

void Accepted::restore(uint64_t number, const bus::MessageRef& message, bool placed) {
  next_number_ = std::max(next_number_, number + 1);
  restored_[number] = {message, placed};
}

void Accepted::on_ready() {
  for (const auto& [number, restored] : std::exchange(restored_, {})) {
    route(number, restored.message, restored.placed, {}, nullptr);
  }
}

}  // namespace broker
