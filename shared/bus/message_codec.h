// A Message as the tail of a bus frame, but for `publish` (publish_frame.h).
//
//   u64 incarnation, u64 sequence, u64 expires_at (CLOCK_MONOTONIC ms of this host, 0 = never), u32 payload size,
//   u32 properties size, u32 payload offset in the attachment, u16 topic size, u16 publisher size, u8 qos,
//   u8 flags (1 retain, 2 payload is in the attachment), topic, publisher, properties, [payload]
#pragma once

#include <optional>
#include <string_view>

#include "shared/bus/frames.h"
#include "shared/bus/link.h"
#include "shared/bus/message.h"

namespace bus {

// Payloads of this size and more travel as a memfd that the receiver maps.
inline constexpr size_t kAttachAt = 256 * 1024;

// Whether the payload is to travel as the descriptor of its buffer, and can; `offset`: where it begins there.
bool attach(const base::BufferRef& buffer, std::string_view payload, size_t& offset);

// Appends a frame: `prefix`, then the message.
void append_message_frame(Link& link, FrameType type, uint8_t flags, std::string_view prefix, const Message& message);

// Reads the message behind a prefix that was read already. Null: malformed. `expiry_shift` as in append_message(). A
// payload that lies in `attachment` is referenced.
MessageRef read_message(Reader& reader, const base::BufferRef& attachment, int64_t expiry_shift = 0);

// For a reader with another clock: the message as in a frame without attachment, its expiry moved by `expiry_shift`
// milliseconds, which read_message() takes back. Without its payload: that is to follow.
void append_message(std::string& out, const Message& message, int64_t expiry_shift, bool with_payload = true);
size_t message_size(const Message& message);

}  // namespace bus
