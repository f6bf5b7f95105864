// The body of a `publish` frame: a message on its way to the sessions of another worker. There is one for every message
// that crosses, so what most messages do not have takes no room, and it is written and read without a Message.
//
//   u8 flags (bits 0 and 1: QoS; then those below), u16 topic size, u16 publisher size, u64 sequence,
//   [foreign: u64 incarnation; else it is the sender's], [once: u64 incarnation, u64 sequence],
//   [expires: u64 CLOCK_MONOTONIC ms of this host], [properties: u32 size],
//   [attached: u32 payload offset, u32 payload size in the attachment], topic, publisher, properties, [payload]
#pragma once

#include <cstdint>
#include <string_view>

#include "shared/bus/link.h"
#include "shared/bus/message.h"

namespace bus {

// `sender`: the incarnation of the worker whose link it is.
void append_publish_frame(Link& link, uint8_t flags, const Message::Fields& message, uint64_t sender);

// Views of `body` and `attachment`. False: malformed.
bool read_publish(std::string_view body, const base::BufferRef& attachment, uint64_t sender, Message::Fields& out);

}  // namespace bus
