// A Delivery in a bus frame: what surrounds the message. Used when a session moves and when its messages are forwarded.
//   u8 qos, u8 flags (1 retain, 2 from a group), u16 number of identifiers, u32 each, [text group, text filter]
#pragma once

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/session/delivery.h"

namespace broker {

// Appends to a writer that has begun the frame's prefix.
void put_delivery(bus::Writer& writer, const session::Delivery& delivery);
// Reads it and the message behind it. False: malformed.
bool get_delivery(bus::Reader& reader, const base::BufferRef& attachment, session::Delivery& delivery);
// The same without a message (QoS 2 past PUBREC).
bool get_delivery_head(bus::Reader& reader, session::Delivery& delivery);

}  // namespace broker
