// A session on the wire between its old and its new owner: state_begin (what it is, its subscriptions), and, when all
// streams are cut (takeovers.h), state_delivery for each message (in flight, then queued) and state_end (packet ids,
// and how far its owner has read every worker's stream).
#pragma once

#include <map>

#include "shared/bus/frames.h"
#include "worker/broker/core.h"
#include "worker/broker/node_stream.h"
#include "worker/broker/peers.h"

namespace broker {

void send_head(Core& core, Peer& to, uint64_t claim, const session::Session& session);
void send_state(Core& core, Peer& to, uint64_t claim, session::Session& session);
// In a gateway: what follows the claim in a state_delivery, passed on to another host, and from one. `expiry_shift` as
// in bus::append_message(). False: malformed.
bool pass_delivery_on(NodeStream& to, uint64_t token, std::string_view rest, const base::BufferRef& attachment,
                      int64_t expiry_shift);
bool pass_delivery_to(Core& core, Peer& to, uint64_t claim, std::string_view rest, int64_t expiry_shift);

// What follows claim and found flag in state_begin. Subscribes the session here. False: malformed.
bool read_session_head(bus::Reader& reader, Core& core, session::Session& session);
// What follows the claim in state_delivery.
bool read_session_delivery(bus::Reader& reader, const base::BufferRef& attachment, Core& core,
                           session::Session& session);
// What follows the claim in state_end.
bool read_session_end(bus::Reader& reader, session::Session& session, std::map<uint64_t, uint64_t>& seen);

}  // namespace broker
