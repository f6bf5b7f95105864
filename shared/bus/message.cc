#include "shared/bus/message.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "shared/base/check.h"

namespace bus {

MessageRef Message::make(const Fields& f) {
  base::BufferRef buffer = f.payload_buffer;
  const char* payload = f.payload.data();
  if (!buffer && f.payload.size() >= kReferenceAt) {
    buffer = base::SharedBuffer::heap(f.payload.size());
    std::memcpy(buffer->data(), f.payload.data(), f.payload.size());
    payload = buffer->data();
  }
  CHECK(f.topic.size() <= UINT16_MAX && f.publisher.size() <= UINT16_MAX);
  const bool by_reference = static_cast<bool>(buffer);
  const size_t tail = f.topic.size() + f.publisher.size() + f.properties.size() + (by_reference ? 0 : f.payload.size());
  void* memory = std::malloc(sizeof(Message) + tail);
  CHECK(memory != nullptr);
  auto* m = new (memory) Message();
  m->uid_ = f.uid;
  m->once_ = f.identity();
  m->qos_ = f.qos;
  m->retain_ = f.retain;
  m->expires_at_ = f.expires_at;
  m->topic_size_ = static_cast<uint16_t>(f.topic.size());
  m->publisher_size_ = static_cast<uint16_t>(f.publisher.size());
  m->properties_size_ = static_cast<uint32_t>(f.properties.size());
  m->payload_size_ = static_cast<uint32_t>(f.payload.size());
  char* out = reinterpret_cast<char*>(m + 1);
  auto put = [&out](std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  put(f.topic);
  put(f.publisher);
  put(f.properties);
  if (by_reference) {
    m->payload_buffer_ = std::move(buffer);
    m->payload_ = payload;
  } else {
    m->payload_ = out;
    put(f.payload);
  }
  return MessageRef(m);
}

Message::Fields fields_of(const Message& m) {
  Message::Fields fields;
  fields.uid = m.uid();
  fields.once = m.once();
  fields.qos = m.qos();
  fields.retain = m.retain();
  fields.expires_at = m.expires_at();
  fields.topic = m.topic();
  fields.publisher = m.publisher();
  fields.properties = m.properties();
  fields.payload = m.payload();
  fields.payload_buffer = m.payload_buffer();
  return fields;
}

void MessageRef::destroy(Message* message) {
  message->~Message();
  std::free(message);
}

}  // namespace bus
