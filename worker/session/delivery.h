// One message on its way to one client: what the message itself does not say.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/types.h"
#include "shared/bus/message.h"

namespace session {

// Subscription identifiers of one delivery; one of them costs no allocation. [MQTT5 3.3.2.3.8]
class SubscriptionIds {
 public:
  void add(uint32_t id) {
    if (id == 0) return;
    if (first_ == 0) {
      first_ = id;
      return;
    }
    if (!all_) all_ = std::make_unique<std::vector<uint32_t>>(1, first_);
    all_->push_back(id);
  }
  bool empty() const { return first_ == 0; }
  size_t size() const { return all_ ? all_->size() : (first_ == 0 ? 0 : 1); }
  const uint32_t* data() const { return all_ ? all_->data() : &first_; }

 private:
  uint32_t first_ = 0;
  std::unique_ptr<std::vector<uint32_t>> all_;
};

// Which shared group a message was assigned from: it may be given to another member until it is acknowledged.
struct GroupName {
  std::string filter;
  std::string name;
};

struct Delivery {
  bus::MessageRef message;
  std::shared_ptr<const GroupName> group;  // null: an ordinary subscription
  SubscriptionIds ids;
  proto::QoS qos = proto::QoS::at_most_once;  // what this client gets
  bool retain = false;                        // the flag it sees
  uint8_t records = 0;                        // which of its records are in the store: see Recorder
  uint64_t position = 0;                      // their key; grows in the order the client must get its messages
};

}  // namespace session
