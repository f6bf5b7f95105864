#include "worker/broker/node_parts.h"

#include <cstring>
#include <utility>

#include "shared/bus/frames.h"

namespace broker {

bool NodeParts::take(uint64_t gateway, std::string_view part, NodeInbox& inbox, base::BufferRef& whole) {
  bus::Reader reader(part);
  const auto serial = reader.get<uint64_t>();
  const auto size = reader.get<uint32_t>();
  const auto offset = reader.get<uint32_t>();
  const std::string_view bytes = reader.rest();
  if (!reader.ok() || bytes.empty() || size > kLargest || size_t{offset} + bytes.size() > size) return false;
  const bool same = gateway == gateway_ && serial == serial_;
  if (same && complete_) return true;
  if (offset == 0) {
    drop(inbox);
    gateway_ = gateway;
    serial_ = serial;
    complete_ = false;
    // What it brings goes on to a worker, which maps it.
    buffer_ = base::SharedBuffer::shareable(size);
  } else if (!same || !buffer_ || offset != size_ || buffer_->capacity() != size) {
    return true;  // the parts before it have been lost with Redis: it begins anew
  }
  std::memcpy(buffer_->data() + offset, bytes.data(), bytes.size());
  size_ = offset + bytes.size();
  if (size_ < size) {
    entries_.push_back(inbox.hold_part());
    return true;
  }
  complete_ = true;
  inbox.join(std::exchange(entries_, {}));
  whole = std::exchange(buffer_, {});
  return true;
}

void NodeParts::drop(NodeInbox& inbox) {
  buffer_ = {};
  for (const uint64_t entry : std::exchange(entries_, {})) inbox.release(entry);
}

}  // namespace broker
