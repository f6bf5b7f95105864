// A frame of another node that was too large for a batch, put together from its parts (node_stream.h). The entries they
// came in stay in the inbox until the frame is done with, so that who reads on from there after our death has them all.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/base/shared_buffer.h"
#include "worker/broker/node_inbox.h"

namespace broker {

class NodeParts {
 public:
  // A part of `gateway` in the entry that is being taken. False: malformed. Is it the last one, `whole` is the frame,
  // which is done with when the entry is; otherwise it stays null.
  bool take(uint64_t gateway, std::string_view part, NodeInbox& inbox, base::BufferRef& whole);
  // Whoever goes on at that node sends what is not complete anew.
  void on_gateway(uint64_t gateway, NodeInbox& inbox) {
    if (gateway != gateway_) drop(inbox);
  }
  void drop(NodeInbox& inbox);

 private:
  static constexpr size_t kLargest = size_t{320} << 20;  // more than the largest MQTT packet
  uint64_t gateway_ = 0;
  uint64_t serial_ = 0;
  bool complete_ = false;  // it was: what comes of it has come before
  base::BufferRef buffer_;
  size_t size_ = 0;
  std::vector<uint64_t> entries_;
};

}  // namespace broker
