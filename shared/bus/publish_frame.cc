#include "shared/bus/publish_frame.h"

#include <cstring>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"

namespace bus {
namespace {

#pragma pack(push, 1)
struct Head {
  uint8_t flags;
  uint16_t topic_size;
  uint16_t publisher_size;
  uint64_t sequence;
};
struct Attached {
  uint32_t offset;
  uint32_t size;
};
#pragma pack(pop)
static_assert(sizeof(Head) == 13);
static_assert(sizeof(Uid) == 16);

constexpr uint8_t kQoS = 3;
constexpr uint8_t kRetain = 4;
constexpr uint8_t kAttached = 8;
constexpr uint8_t kForeign = 16;
constexpr uint8_t kOnce = 32;
constexpr uint8_t kExpires = 64;
constexpr uint8_t kProperties = 128;

uint8_t flags_of(const Message::Fields& m, uint64_t sender) {
  unsigned flags = static_cast<unsigned>(m.qos);
  if (m.retain) flags |= kRetain;
  if (m.uid.incarnation != sender) flags |= kForeign;
  if (m.identity() != m.uid) flags |= kOnce;
  if (m.expires_at != 0) flags |= kExpires;
  if (!m.properties.empty()) flags |= kProperties;
  return static_cast<uint8_t>(flags);
}

// Everything but the payload.
size_t head_size(const Message::Fields& m, uint8_t flags) {
  size_t size = sizeof(Head) + m.topic.size() + m.publisher.size() + m.properties.size();
  if ((flags & (kForeign | kOnce | kExpires | kProperties | kAttached)) == 0) return size;
  if ((flags & kForeign) != 0) size += sizeof(uint64_t);
  if ((flags & kOnce) != 0) size += sizeof(Uid);
  if ((flags & kExpires) != 0) size += sizeof(uint64_t);
  if ((flags & kProperties) != 0) size += sizeof(uint32_t);
  if ((flags & kAttached) != 0) size += sizeof(Attached);
  return size;
}

char* put(char* out, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

template <typename T>
char* put(char* out, const T& value) {
  std::memcpy(out, &value, sizeof value);
  return out + sizeof value;
}

char* put_head(char* out, const Message::Fields& m, uint8_t flags, size_t payload_offset) {
  out = put(out, Head{flags, static_cast<uint16_t>(m.topic.size()), static_cast<uint16_t>(m.publisher.size()),
                      m.uid.sequence});
  if ((flags & kForeign) != 0) out = put(out, m.uid.incarnation);
  if ((flags & kOnce) != 0) out = put(out, m.identity());
  if ((flags & kExpires) != 0) out = put(out, m.expires_at);
  if ((flags & kProperties) != 0) out = put(out, static_cast<uint32_t>(m.properties.size()));
  if ((flags & kAttached) != 0) {
    out = put(out, Attached{static_cast<uint32_t>(payload_offset), static_cast<uint32_t>(m.payload.size())});
  }
  return put(put(put(out, m.topic), m.publisher), m.properties);
}

}  // namespace

void append_publish_frame(Link& link, uint8_t flags, const Message::Fields& m, uint64_t sender) {
  constexpr auto kType = static_cast<uint8_t>(FrameType::publish);
  uint8_t head = flags_of(m, sender);
  size_t offset = 0;
  if (attach(m.payload_buffer, m.payload, offset)) {
    head |= kAttached;
    char* out = link.append(kType, flags, head_size(m, head), m.payload_buffer, offset + m.payload.size());
    put_head(out, m, head, offset);
    return;
  }
  char* out = link.append(kType, flags, head_size(m, head) + m.payload.size());
  put(put_head(out, m, head, 0), m.payload);
}

bool read_publish(std::string_view body, const base::BufferRef& attachment, uint64_t sender, Message::Fields& out) {
  Reader reader(body);
  const Head head = reader.get<Head>();
  const unsigned qos = head.flags & kQoS;
  if (qos > 2) return false;
  out.qos = static_cast<proto::QoS>(qos);
  out.retain = (head.flags & kRetain) != 0;
  out.uid = {(head.flags & kForeign) != 0 ? reader.get<uint64_t>() : sender, head.sequence};
  if ((head.flags & kOnce) != 0) out.once = reader.get<Uid>();
  if ((head.flags & kExpires) != 0) out.expires_at = reader.get<uint64_t>();
  const size_t properties_size = (head.flags & kProperties) != 0 ? reader.get<uint32_t>() : 0;
  const bool attached = (head.flags & kAttached) != 0;
  const Attached where = attached ? reader.get<Attached>() : Attached{};
  out.topic = reader.bytes(head.topic_size);
  out.publisher = reader.bytes(head.publisher_size);
  out.properties = reader.bytes(properties_size);
  if (!attached) {
    out.payload = reader.rest();
    return reader.ok();
  }
  if (!attachment || attachment->capacity() < size_t{where.offset} + where.size) return false;
  out.payload = {attachment->data() + where.offset, where.size};
  out.payload_buffer = attachment;
  return reader.at_end();
}

}  // namespace bus
