#include "worker/broker/datagrams.h"

#include <utility>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"

namespace broker {

void Datagrams::append(NodeFrame type, std::string_view prefix, const bus::Message& message, int64_t expiry_shift) {
  append_node_frame_head(frames_, type, prefix.size() + bus::message_size(message));
  frames_.append(prefix);
  bus::append_message(frames_, message, expiry_shift);
  ++messages_;
}

std::string Datagrams::take(uint64_t gateway) {
  std::string count;
  bus::Writer(count).put<uint64_t>(gateway).put<uint64_t>(sent_).put<uint32_t>(messages_);
  append_node_frame(frames_, NodeFrame::counted, count);
  sent_ += std::exchange(messages_, 0);
  return std::exchange(frames_, {});
}

}  // namespace broker
