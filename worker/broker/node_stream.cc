#include "worker/broker/node_stream.h"

#include <utility>

#include "shared/bus/message_codec.h"

namespace broker {

void NodeStream::cut_if_full(size_t more) {
  if (!next_.empty() && next_.frames.size() + more > kMaxBatch) full_.push_back(std::exchange(next_, {}));
}

void NodeStream::append(NodeFrame type, std::string_view body) {
  cut_if_full(kNodeFrameHead + body.size());
  append_node_frame(next_.frames, type, body);
}

void NodeStream::append(NodeFrame type, std::string_view prefix, const bus::Message& message, int64_t expiry_shift) {
  const size_t body = prefix.size() + bus::message_size(message);
  cut_if_full(kNodeFrameHead + body);
  append_node_frame_head(next_.frames, type, body);
  next_.frames.append(prefix);
  bus::append_message(next_.frames, message, expiry_shift);
}

void NodeStream::append_frames(std::string_view frames) {
  cut_if_full(frames.size());
  next_.frames.append(frames);
}

void NodeStream::flush(cluster::Hub& hub, const Sent& sent) {
  if (!answered_ || pauses_ || !hub.up()) return;
  if (under_way_.empty()) {
    if (!full_.empty()) {
      under_way_ = std::move(full_.front());
      full_.pop_front();
    } else {
      under_way_ = std::exchange(next_, {});
    }
    if (under_way_.empty()) return;
    ++number_;
  }
  answered_ = false;
  hub.send(to_, number_, under_way_.frames,
           [sent, to = to_, number = number_](cluster::Status status) { sent(to, number, status); });
}

std::vector<TicketId> NodeStream::on_sent(uint64_t number, cluster::Status status) {
  if (number != number_ || answered_) return {};
  answered_ = true;
  pauses_ = status != cluster::Status::ok;
  if (pauses_) return {};
  under_way_.frames.clear();
  return std::exchange(under_way_.tickets, {});
}

NodeStream::Abandoned NodeStream::abandon() {
  Abandoned left;
  const auto add = [&left](const Batch& batch) {
    left.frames += batch.frames;
    left.tickets.insert(left.tickets.end(), batch.tickets.begin(), batch.tickets.end());
  };
  add(std::exchange(under_way_, {}));
  for (const Batch& batch : std::exchange(full_, {})) add(batch);
  add(std::exchange(next_, {}));
  return left;
}

size_t NodeStream::waiting_bytes() const {
  size_t sum = next_.frames.size() + under_way_.frames.size();
  for (const Batch& batch : full_) sum += batch.frames.size();
  return sum;
}

}  // namespace broker
