// One published application message: topic, payload and forwarded properties in one allocation, ref-counted and
// immutable, shared by every receiver's queue and output.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "proto/types.h"
#include "shared/base/clock.h"
#include "shared/base/shared_buffer.h"

namespace bus {

// Names a message on the whole host: which worker process accepted it, and its number there. Numbers grow in the order
// in which that worker routed its messages; every stream between workers carries them in that order.
struct Uid {
  uint64_t incarnation = 0;  // of the worker process, see control::Boot
  uint64_t sequence = 0;
  bool operator==(const Uid&) const = default;
};

class MessageRef;

class Message {
 public:
  struct Fields {
    Uid uid;
    // The identity by which owners recognise a message they have stored already; {} = its uid. It differs for a message
    // that is routed again, with a new uid, after the worker that accepted it has died.
    Uid once = {};
    proto::QoS qos = proto::QoS::at_most_once;  // as published
    bool retain = false;                        // as published
    base::MonoMs expires_at = 0;                // 0 = never
    std::string_view topic;
    std::string_view publisher;   // its client id, for no-local and hash strategies
    std::string_view properties;  // forwarded properties, encoded (proto::PublishProperties::block)
    std::string_view payload;
    // Set when `payload` lies in a buffer that can be referenced: it is then kept instead of copied.
    base::BufferRef payload_buffer;

    const Uid& identity() const { return once == Uid{} ? uid : once; }
  };
  // Payloads of this size and more lie in a SharedBuffer, so that every receiver's output can reference them; smaller
  // ones are copied, which is cheaper than a reference.
  static constexpr size_t kReferenceAt = 2048;
  static MessageRef make(const Fields& fields);

  const Uid& uid() const { return uid_; }
  const Uid& once() const { return once_; }
  proto::QoS qos() const { return qos_; }
  bool retain() const { return retain_; }
  base::MonoMs expires_at() const { return expires_at_; }
  bool expired(base::MonoMs now) const { return expires_at_ != 0 && now >= expires_at_; }
  std::string_view topic() const { return {tail(), topic_size_}; }
  std::string_view publisher() const { return {tail() + topic_size_, publisher_size_}; }
  std::string_view properties() const { return {tail() + topic_size_ + publisher_size_, properties_size_}; }
  std::string_view payload() const { return {payload_, payload_size_}; }
  // Null when the payload (smaller than kReferenceAt) lies in the message itself.
  const base::BufferRef& payload_buffer() const { return payload_buffer_; }
  // What it costs a queue: topic, properties and payload, plus a fixed overhead.
  size_t footprint() const { return kOverhead + topic_size_ + publisher_size_ + properties_size_ + payload_size_; }

 private:
  friend class MessageRef;
  static constexpr size_t kOverhead = 128;
  Message() = default;
  ~Message() = default;
  const char* tail() const { return reinterpret_cast<const char*>(this + 1); }

  uint32_t refs_ = 0;
  proto::QoS qos_ = proto::QoS::at_most_once;
  bool retain_ = false;
  uint16_t topic_size_ = 0;
  Uid uid_;
  Uid once_;
  base::MonoMs expires_at_ = 0;
  uint32_t properties_size_ = 0;
  uint32_t payload_size_ = 0;
  uint16_t publisher_size_ = 0;
  const char* payload_ = nullptr;
  base::BufferRef payload_buffer_;
};

// Everything make() needs for an equal message; views and buffer of this one.
Message::Fields fields_of(const Message& message);

// Intrusive, not atomic: messages belong to one worker's thread.
class MessageRef {
 public:
  MessageRef() = default;
  explicit MessageRef(Message* message) : message_(message) {
    if (message_ != nullptr) ++message_->refs_;
  }
  MessageRef(const MessageRef& other) : MessageRef(other.message_) {}
  MessageRef(MessageRef&& other) noexcept : message_(std::exchange(other.message_, nullptr)) {}
  MessageRef& operator=(MessageRef other) noexcept {
    std::swap(message_, other.message_);
    return *this;
  }
  ~MessageRef() {
    if (message_ != nullptr && --message_->refs_ == 0) destroy(message_);
  }
  const Message* operator->() const { return message_; }
  const Message& operator*() const { return *message_; }
  const Message* get() const { return message_; }
  explicit operator bool() const { return message_ != nullptr; }

 private:
  static void destroy(Message* message);
  Message* message_ = nullptr;
};

}  // namespace bus
