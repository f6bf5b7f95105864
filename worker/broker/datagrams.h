// QoS 0 messages for another node, collected until they go out together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/bus/message.h"
#include "worker/broker/node_frames.h"

namespace broker {

// They are numbered, so that it is known there how many have not come.
class Datagrams {
 public:
  size_t size() const { return frames_.size(); }
  bool empty() const { return frames_.empty(); }
  uint32_t messages() const { return messages_; }
  void append(NodeFrame type, std::string_view prefix, const bus::Message& message, int64_t expiry_shift);
  // All of them, to be sent.
  std::string take(uint64_t gateway);
  // They are not sent.
  void drop() {
    frames_.clear();
    messages_ = 0;
  }

 private:
  std::string frames_;
  uint32_t messages_ = 0;  // in them
  uint64_t sent_ = 0;      // before
};

}  // namespace broker
