#include "worker/broker/node_stream.h"

#include <algorithm>
#include <utility>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"

namespace broker {

void NodeStream::Batch::append_to(std::string& out, size_t offset, size_t size) const {
  const size_t of_frames = offset < frames.size() ? std::min(size, frames.size() - offset) : 0;
  if (of_frames != 0) out.append(frames, offset, of_frames);
  if (of_frames != size) out.append(tail.substr(offset + of_frames - frames.size(), size - of_frames));
}

void NodeStream::make_room(size_t more) {
  const bool full = next_.in_parts || next_.frames.size() + more > max_batch_;
  if (!next_.empty() && full) full_.push_back(std::exchange(next_, {}));
  if (next_.empty()) next_.in_parts = more > max_batch_;
}

void NodeStream::append(NodeFrame type, std::string_view body) {
  make_room(kNodeFrameHead + body.size());
  append_node_frame(next_.frames, type, body);
}

void NodeStream::append(NodeFrame type, std::string_view prefix, const bus::Message& message, int64_t expiry_shift) {
  const size_t body = prefix.size() + bus::message_size(message);
  make_room(kNodeFrameHead + body);
  append_node_frame_head(next_.frames, type, body);
  next_.frames.append(prefix);
  const bool referenced = next_.in_parts && message.payload_buffer();
  bus::append_message(next_.frames, message, expiry_shift, !referenced);
  if (!referenced) return;
  next_.tail = message.payload();
  next_.buffer = message.payload_buffer();
}

void NodeStream::append_frames(std::string_view frames) {
  for_each_node_frame(frames, [this](NodeFrame type, std::string_view body) {
    append(type, body);
    return true;
  });
}

bool NodeStream::begin_next() {
  Batch batch = std::exchange(full_.empty() ? next_ : full_.front(), {});
  if (!full_.empty()) full_.pop_front();
  if (batch.empty()) return false;
  tickets_ = std::move(batch.tickets);
  if (batch.in_parts) {
    large_ = std::move(batch);
    serial_ = ++serials_;
    begun_ = 0;
  } else {
    bytes_ = std::move(batch.frames);
  }
  return true;
}

std::string NodeStream::next_part() {
  const size_t size = std::min(max_batch_, large_.size() - begun_);
  std::string head;
  const auto whole = static_cast<uint32_t>(large_.size());
  bus::Writer(head).put<uint64_t>(serial_).put<uint32_t>(whole).put<uint32_t>(static_cast<uint32_t>(begun_));
  std::string part;
  part.reserve(kNodeFrameHead + head.size() + size);
  append_node_frame_head(part, NodeFrame::part, head.size() + size);
  part.append(head);
  large_.append_to(part, begun_, size);
  begun_ += size;
  return part;
}

void NodeStream::flush(cluster::Hub& hub, const Sent& sent) {
  if (!answered_ || pauses_ || !hub.up()) return;
  if (bytes_.empty()) {
    if (large_.empty() && !begin_next()) return;
    if (!large_.empty()) bytes_ = next_part();
    ++number_;
  }
  answered_ = false;
  hub.send(to_, number_, bytes_,
           [sent, to = to_, number = number_](cluster::Status status) { sent(to, number, status); });
}

std::vector<TicketId> NodeStream::on_sent(uint64_t number, cluster::Status status) {
  if (number != number_ || answered_) return {};
  answered_ = true;
  pauses_ = status != cluster::Status::ok;
  if (status == cluster::Status::lost) begin_again();
  if (pauses_) return {};
  bytes_.clear();
  if (begun_ < large_.size()) return {};
  large_ = {};
  begun_ = 0;
  return std::exchange(tickets_, {});
}

void NodeStream::begin_again() {
  if (large_.empty() || !answered_) return;
  bytes_.clear();
  begun_ = 0;
}

NodeStream::Abandoned NodeStream::abandon() {
  Abandoned left;
  const auto add = [&left](const Batch& batch) {
    batch.append_to(left.frames, 0, batch.size());
    left.tickets.insert(left.tickets.end(), batch.tickets.begin(), batch.tickets.end());
  };
  if (large_.empty()) left.frames = std::move(bytes_);
  left.tickets = std::exchange(tickets_, {});
  bytes_.clear();
  add(std::exchange(large_, {}));
  begun_ = 0;
  for (const Batch& batch : std::exchange(full_, {})) add(batch);
  add(std::exchange(next_, {}));
  return left;
}

size_t NodeStream::waiting_bytes() const {
  size_t sum = next_.size() + bytes_.size() + large_.size() - begun_;
  for (const Batch& batch : full_) sum += batch.size();
  return sum;
}

}  // namespace broker
