#include "shared/bus/message_codec.h"

#include <cstring>

namespace bus {
namespace {

#pragma pack(push, 1)
struct Head {
  uint64_t incarnation;
  uint64_t sequence;
  uint64_t expires_at;
  uint32_t payload_size;
  uint32_t properties_size;
  uint32_t payload_offset;
  uint16_t topic_size;
  uint16_t publisher_size;
  uint8_t qos;
  uint8_t flags;
};
#pragma pack(pop)
static_assert(sizeof(Head) == 42);
static_assert(sizeof(Uid) == 16);

constexpr uint8_t kRetain = 1;
constexpr uint8_t kAttached = 2;
constexpr uint8_t kOnce = 4;  // an identity of its own follows the head: u64 incarnation, u64 sequence

char* put(char* out, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

}  // namespace

void append_message_frame(Link& link, FrameType type, uint8_t flags, std::string_view prefix, const Message& m) {
  // The descriptor is made here, so that what is in the stream can always be written; without one the payload is
  // copied.
  bool attached = m.payload_buffer() && m.payload().size() >= kAttachAt;
  if (attached) {
    const auto offset = static_cast<size_t>(m.payload().data() - m.payload_buffer()->data());
    attached = m.payload_buffer()->share(offset + m.payload().size()) >= 0;
  }
  const bool once = m.once() != m.uid();
  const size_t body = prefix.size() + sizeof(Head) + (once ? sizeof(Uid) : 0) + m.topic().size() +
                      m.publisher().size() + m.properties().size() + (attached ? 0 : m.payload().size());
  Head head{};
  head.incarnation = m.uid().incarnation;
  head.sequence = m.uid().sequence;
  head.expires_at = m.expires_at();
  head.payload_size = static_cast<uint32_t>(m.payload().size());
  head.properties_size = static_cast<uint32_t>(m.properties().size());
  head.topic_size = static_cast<uint16_t>(m.topic().size());
  head.publisher_size = static_cast<uint16_t>(m.publisher().size());
  head.qos = static_cast<uint8_t>(m.qos());
  head.flags = static_cast<uint8_t>((m.retain() ? kRetain : 0) | (attached ? kAttached : 0) | (once ? kOnce : 0));
  char* out = nullptr;
  if (attached) {
    const auto offset = static_cast<size_t>(m.payload().data() - m.payload_buffer()->data());
    head.payload_offset = static_cast<uint32_t>(offset);
    out = link.append(static_cast<uint8_t>(type), flags, body, m.payload_buffer(), offset + m.payload().size());
  } else {
    out = link.append(static_cast<uint8_t>(type), flags, body);
  }
  out = put(out, prefix);
  std::memcpy(out, &head, sizeof head);
  out += sizeof head;
  if (once) out = put(out, {reinterpret_cast<const char*>(&m.once()), sizeof(Uid)});
  out = put(out, m.topic());
  out = put(out, m.publisher());
  out = put(out, m.properties());
  if (!attached) put(out, m.payload());
}

MessageRef read_message(Reader& reader, const base::BufferRef& attachment) {
  const Head head = reader.get<Head>();
  if (!reader.ok() || head.qos > 2) return MessageRef();
  Message::Fields f;
  f.uid = {head.incarnation, head.sequence};
  f.qos = static_cast<proto::QoS>(head.qos);
  f.retain = (head.flags & kRetain) != 0;
  f.expires_at = head.expires_at;
  if ((head.flags & kOnce) != 0) f.once = reader.get<Uid>();
  f.topic = reader.bytes(head.topic_size);
  f.publisher = reader.bytes(head.publisher_size);
  f.properties = reader.bytes(head.properties_size);
  if ((head.flags & kAttached) != 0) {
    if (!attachment || attachment->capacity() < size_t{head.payload_offset} + head.payload_size) return MessageRef();
    f.payload = {attachment->data() + head.payload_offset, head.payload_size};
    f.payload_buffer = attachment;
  } else {
    f.payload = reader.bytes(head.payload_size);
  }
  if (!reader.at_end()) return MessageRef();
  return Message::make(f);
}

}  // namespace bus
