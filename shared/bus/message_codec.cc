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

Head head_of(const Message& m) {
  Head head{};
  head.incarnation = m.uid().incarnation;
  head.sequence = m.uid().sequence;
  head.expires_at = m.expires_at();
  head.payload_size = static_cast<uint32_t>(m.payload().size());
  head.properties_size = static_cast<uint32_t>(m.properties().size());
  head.topic_size = static_cast<uint16_t>(m.topic().size());
  head.publisher_size = static_cast<uint16_t>(m.publisher().size());
  head.qos = static_cast<uint8_t>(m.qos());
  head.flags = static_cast<uint8_t>((m.retain() ? kRetain : 0) | (m.once() != m.uid() ? kOnce : 0));
  return head;
}

// All of it or, without its payload, its beginning. Returns the end.
char* put_message(char* out, const Head& head, const Message& m, bool with_payload) {
  std::memcpy(out, &head, sizeof head);
  out += sizeof head;
  if ((head.flags & kOnce) != 0) out = put(out, {reinterpret_cast<const char*>(&m.once()), sizeof(Uid)});
  out = put(out, m.topic());
  out = put(out, m.publisher());
  out = put(out, m.properties());
  return with_payload ? put(out, m.payload()) : out;
}

bool lies_in(const base::BufferRef& buffer, std::string_view bytes) {
  if (!buffer || bytes.size() < Message::kReferenceAt) return false;
  const char* const begin = buffer->data();
  return bytes.data() >= begin && bytes.data() + bytes.size() <= begin + buffer->capacity();
}

}  // namespace

size_t message_size(const Message& m) {
  return sizeof(Head) + (m.once() != m.uid() ? sizeof(Uid) : 0) + m.topic().size() + m.publisher().size() +
         m.properties().size() + m.payload().size();
}

void append_message(std::string& out, const Message& m, int64_t expiry_shift, bool with_payload) {
  Head head = head_of(m);
  if (head.expires_at != 0) head.expires_at += static_cast<uint64_t>(expiry_shift);
  const size_t begin = out.size();
  out.resize(begin + message_size(m) - (with_payload ? 0 : m.payload().size()));
  put_message(out.data() + begin, head, m, with_payload);
}

// The descriptor is made here, so that what is in the stream can always be written; without one the payload is copied.
bool attach(const base::BufferRef& buffer, std::string_view payload, size_t& offset) {
  if (!buffer || payload.size() < kAttachAt) return false;
  offset = static_cast<size_t>(payload.data() - buffer->data());
  return buffer->share(offset + payload.size()) >= 0;
}

void append_message_frame(Link& link, FrameType type, uint8_t flags, std::string_view prefix, const Message& m) {
  size_t offset = 0;
  const bool attached = attach(m.payload_buffer(), m.payload(), offset);
  const size_t body = prefix.size() + message_size(m) - (attached ? m.payload().size() : 0);
  Head head = head_of(m);
  char* out = nullptr;
  if (attached) {
    head.flags = static_cast<uint8_t>(head.flags | kAttached);
    head.payload_offset = static_cast<uint32_t>(offset);
    out = link.append(static_cast<uint8_t>(type), flags, body, m.payload_buffer(), offset + m.payload().size());
  } else {
    out = link.append(static_cast<uint8_t>(type), flags, body);
  }
  put_message(put(out, prefix), head, m, !attached);
}

MessageRef read_message(Reader& reader, const base::BufferRef& attachment, int64_t expiry_shift) {
  const Head head = reader.get<Head>();
  if (!reader.ok() || head.qos > 2) return MessageRef();
  Message::Fields f;
  f.uid = {head.incarnation, head.sequence};
  f.qos = static_cast<proto::QoS>(head.qos);
  f.retain = (head.flags & kRetain) != 0;
  if (head.expires_at != 0) {
    const auto shifted = static_cast<int64_t>(head.expires_at) - expiry_shift;
    f.expires_at = shifted > 0 ? static_cast<base::MonoMs>(shifted) : 1;  // long ago
  }
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
    if (lies_in(attachment, f.payload)) f.payload_buffer = attachment;
  }
  if (!reader.at_end()) return MessageRef();
  return Message::make(f);
}

}  // namespace bus
