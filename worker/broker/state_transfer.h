// A session on the wire between its old and its new owner: state_begin (what it is, its subscriptions, what is in
// flight), state_delivery for each message (in flight, then queued), state_end.
#pragma once

#include "shared/bus/frames.h"
#include "worker/broker/core.h"
#include "worker/broker/peers.h"

namespace broker {

void send_session(Core& core, Peer& to, uint64_t claim, session::Session& session);
// What follows claim and found flag in state_begin. Subscribes the session here. False: malformed.
bool read_session_head(bus::Reader& reader, Core& core, session::Session& session);
// What follows the claim in state_delivery.
bool read_session_delivery(bus::Reader& reader, const base::BufferRef& attachment, Core& core,
                           session::Session& session);

}  // namespace broker
