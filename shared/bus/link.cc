#include "shared/bus/link.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "shared/base/check.h"

namespace bus {
namespace {

struct Header {
  uint32_t body_size;
  uint8_t type;
  uint8_t flags;
  uint16_t attachments;
};
static_assert(sizeof(Header) == Link::kHeaderSize);

// The size of an attachment travels in front of the body.
constexpr size_t kAttachmentPrefix = 8;

}  // namespace

Link::InboundFds::~InboundFds() {
  clear();
}

void Link::InboundFds::clear() {
  while (!fds.empty()) {
    close(fds.front());
    fds.pop_front();
  }
}

char* Link::append(uint8_t type, uint8_t flags, size_t body_size) {
  CHECK(body_size <= kMaxBody);
  char* place = out_.append(kHeaderSize + body_size);
  const Header header{static_cast<uint32_t>(body_size), type, flags, 0};
  std::memcpy(place, &header, sizeof header);
  return place + kHeaderSize;
}

char* Link::append(uint8_t type, uint8_t flags, size_t body_size, const base::BufferRef& attachment, size_t bytes) {
  CHECK(body_size + kAttachmentPrefix <= kMaxBody);
  attachments_.push_back({end(), attachment, bytes});
  attached_ += bytes;
  char* place = out_.append(kHeaderSize + kAttachmentPrefix + body_size);
  const Header header{static_cast<uint32_t>(kAttachmentPrefix + body_size), type, flags, 1};
  std::memcpy(place, &header, sizeof header);
  const uint64_t size = bytes;
  std::memcpy(place + kHeaderSize, &size, sizeof size);
  return place + kHeaderSize + kAttachmentPrefix;
}

void Link::acknowledge_if_due() {
  if (received_ == acknowledged_) return;
  if (!ack_soon_ && received_ - acknowledged_ < ack_every_) return;
  const uint64_t position = received_;
  std::memcpy(append(kAckType, 0, sizeof position), &position, sizeof position);
  acknowledged_ = received_;
  ack_soon_ = false;
}

void Link::fit_credit(uint64_t credit) {
  ack_every_ = std::clamp(credit / 4, kLeastAckEvery, kAckEvery);
}

bool Link::connected(uint64_t peer_received) {
  if (peer_received < acked_ || peer_received > end()) return false;
  drop_to(peer_received);
  written_ = peer_received;
  connected_ = true;
  return true;
}

void Link::drop_to(uint64_t position) {
  out_.drop_front(position - acked_);
  acked_ = position;
  while (!attachments_.empty() && attachments_.front().position < acked_) {
    attached_ -= attachments_.front().size;
    attachments_.pop_front();
  }
}

void Link::disconnected() {
  connected_ = false;
  partial_.clear();
  inbound_fds_.clear();
  acknowledged_ = received_;  // the next handshake tells
}

int Link::gather(iovec* iov, int max, int& attachment_fd) {
  attachment_fd = -1;
  if (!connected_ || !waiting()) return 0;
  size_t limit = end() - written_;
  for (size_t i = 0; i < attachments_.size(); ++i) {
    Attachment& a = attachments_[i];
    if (a.position < written_) continue;
    if (a.position == written_) {
      attachment_fd = a.buffer->share(a.size);
      if (attachment_fd < 0) return 0;  // out of descriptors or memory for now
      continue;
    }
    limit = a.position - written_;
    break;
  }
  int count = out_.gather(written_ - acked_, iov, max);
  for (int i = 0; i < count; ++i) {
    if (iov[i].iov_len >= limit) {
      iov[i].iov_len = limit;
      return i + 1;
    }
    limit -= iov[i].iov_len;
  }
  return count;
}

void Link::on_written(size_t n) {
  written_ += n;
  CHECK(written_ <= end());
}

void Link::on_attachment(int fd) {
  inbound_fds_.fds.push_back(fd);
}

bool Link::on_bytes(std::string_view bytes, FrameHandler& handler) {
  auto frame_size = [](std::string_view b) {
    uint32_t body = 0;
    std::memcpy(&body, b.data(), sizeof body);
    return kHeaderSize + size_t{body};
  };
  while (!bytes.empty()) {
    if (partial_.empty() && bytes.size() >= kHeaderSize && bytes.size() >= frame_size(bytes)) {
      const size_t size = frame_size(bytes);
      if (!deliver(bytes.substr(0, size), handler)) return false;
      bytes.remove_prefix(size);
      continue;
    }
    const size_t want = partial_.size() < kHeaderSize ? kHeaderSize : frame_size(partial_);
    if (want > kHeaderSize + size_t{kMaxBody}) return false;
    const size_t take = std::min(want - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (partial_.size() >= kHeaderSize && partial_.size() == frame_size(partial_)) {
      const std::string frame = std::move(partial_);
      partial_ = std::string();
      if (!deliver(frame, handler)) return false;
    }
  }
  return true;
}

bool Link::deliver(std::string_view frame, FrameHandler& handler) {
  Header header{};
  std::memcpy(&header, frame.data(), sizeof header);
  std::string_view body = frame.substr(kHeaderSize);
  if ((header.flags & kAckSoon) != 0) ack_soon_ = true;
  if (header.type == kAckType) {
    received_ += frame.size();
    uint64_t position = 0;
    if (body.size() != sizeof position) return false;
    std::memcpy(&position, body.data(), sizeof position);
    if (position > written_) return false;
    if (position > acked_) drop_to(position);
    return true;
  }
  base::BufferRef attachment;
  if (header.attachments != 0) {
    uint64_t size = 0;
    if (header.attachments != 1 || body.size() < kAttachmentPrefix || inbound_fds_.fds.empty()) return false;
    std::memcpy(&size, body.data(), sizeof size);
    body.remove_prefix(kAttachmentPrefix);
    const int fd = inbound_fds_.fds.front();
    inbound_fds_.fds.pop_front();
    attachment = base::SharedBuffer::from_fd(fd, size);
    if (!attachment) return false;
    ack_soon_ = true;  // it weighs on the sender's credit, but not on the bytes that make an acknowledgement due
  }
  // Only now: a frame whose attachment could not be mapped is sent again after a reconnect.
  received_ += frame.size();
  return handler.on_frame(header.type, header.flags, body, attachment);
}

}  // namespace bus
