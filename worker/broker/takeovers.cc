#include "worker/broker/takeovers.h"

#include <vector>

#include "proto/topic.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/delivery_codec.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"

namespace broker {

using session::Inbound;
using session::Outbound;

void Takeovers::start_outbound(session::Session& ghost, const WorkerId& to, uint64_t claim) {
  ghost.outbound = std::make_unique<Outbound>();
  ghost.outbound->to_slot = to.slot;
  ghost.outbound->to_incarnation = to.incarnation;
  ghost.outbound->claim = claim;
  ghosts_[{to.incarnation, claim}] = &ghost;
}

void Takeovers::start_inbound(session::Session& session, const WorkerId& from, uint64_t claim) {
  session.inbound = std::make_unique<Inbound>();
  Inbound& inbound = *session.inbound;
  inbound.from_slot = from.slot;
  inbound.from_incarnation = from.incarnation;
  inbound.claim = claim;
  inbound_[claim] = &session;
  inbound.gates[core_.self.incarnation];
  core_.peers->for_each([&](Peer& peer) {
    inbound.gates[peer.id.incarnation];
    send_request(peer, inbound);
  });
  cut_here(core_.self, claim, from);
}

void Takeovers::send_request(Peer& peer, const Inbound& inbound) {
  bus::Writer(core_.scratch)
      .put<uint64_t>(inbound.claim)
      .put<uint32_t>(inbound.from_slot)
      .put<uint64_t>(inbound.from_incarnation);
  core_.peers->send(peer, bus::FrameType::cut_request, bus::kAckSoon, core_.scratch);
}

// This worker as P: cuts its own stream, now.
void Takeovers::cut_here(const WorkerId& owner, uint64_t claim, const WorkerId& old_owner) {
  const uint64_t sequence = core_.sequence;
  bus::Writer(core_.scratch).put<uint64_t>(owner.incarnation).put<uint64_t>(claim).put<uint64_t>(sequence);
  const std::string body = core_.scratch;
  for (const WorkerId& side : {old_owner, owner}) {
    if (side == core_.self) {
      note_cut(owner.incarnation, claim, core_.self.incarnation, sequence);
    } else if (Peer* peer = core_.peers->find(side)) {
      core_.peers->send(*peer, bus::FrameType::cut, 0, body);
    }
  }
}

bool Takeovers::on_cut_request(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  WorkerId old_owner;
  old_owner.slot = reader.get<uint32_t>();
  old_owner.incarnation = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  cut_here(from, claim, old_owner);
  return true;
}

bool Takeovers::on_cut(uint64_t origin, std::string_view body) {
  bus::Reader reader(body);
  const auto owner = reader.get<uint64_t>();
  const auto claim = reader.get<uint64_t>();
  const auto sequence = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  note_cut(owner, claim, origin, sequence);
  return true;
}

void Takeovers::note_cut(uint64_t owner, uint64_t claim, uint64_t origin, uint64_t sequence) {
  if (owner == core_.self.incarnation) {
    const auto it = inbound_.find(claim);
    if (it == inbound_.end()) return;
    Inbound::Gate& gate = it->second->inbound->gates[origin];
    if (!gate.cut) gate.cut = sequence;
    open_gate(*it->second, origin);
    return;
  }
  const auto it = ghosts_.find({owner, claim});
  if (it == ghosts_.end()) return;
  it->second->outbound->parts[origin].cut = sequence;
  try_part_end(*it->second, origin);
}

void Takeovers::deliver(session::Session& session, session::Delivery delivery) {
  if (session.inbound) {
    const bus::Uid uid = delivery.message->uid();
    const auto it = session.inbound->gates.find(uid.incarnation);
    if (it != session.inbound->gates.end()) {
      Inbound::Gate& gate = it->second;
      if (!gate.open()) {
        hold(*session.inbound, gate, std::move(delivery));
        return;
      }
      if (uid.sequence <= gate.boundary()) return;  // came through the old owner
    }
  }
  pass(session, std::move(delivery));
}

// What is held counts like a queue.
void Takeovers::hold(Inbound& inbound, Inbound::Gate& gate, session::Delivery delivery) {
  const size_t bytes = delivery.message->footprint();
  if (inbound.held_bytes + bytes > core_.mqtt.max_queued_bytes) {
    core_.page.add(delivery.qos == proto::QoS::at_most_once ? metrics::Counter::publish_dropped_slow
                                                            : metrics::Counter::publish_dropped_queue);
    return;
  }
  inbound.held_bytes += bytes;
  gate.held.push_back(std::move(delivery));
}

// Behind the gate: to the client, or on to the next owner.
void Takeovers::pass(session::Session& session, session::Delivery delivery) {
  if (!session.outbound) {
    session.deliver(std::move(delivery));
    return;
  }
  const bus::Uid uid = delivery.message->uid();
  const Outbound::Part& part = session.outbound->parts[uid.incarnation];
  if (part.cut && uid.sequence > *part.cut) return;  // reaches the next owner directly
  if (part.told) return;
  send_forward(session, delivery, true);
}

void Takeovers::forward_ungated(session::Session& ghost, const session::Delivery& delivery) {
  send_forward(ghost, delivery, false);
}

void Takeovers::send_forward(session::Session& ghost, const session::Delivery& delivery, bool gated) {
  // QoS 0 for a session without a connection would be dropped at the new owner too; it decides.
  Peer* peer = core_.peers->find(WorkerId{ghost.outbound->to_slot, ghost.outbound->to_incarnation});
  if (peer == nullptr) return;
  bus::Writer writer(core_.scratch);
  writer.put<uint64_t>(ghost.outbound->claim).put<uint8_t>(gated);
  put_delivery(writer, delivery);
  bus::append_message_frame(peer->link, bus::FrameType::forward, bus::kAckSoon, core_.scratch, *delivery.message);
  core_.peers->mark_dirty(*peer);
}

bool Takeovers::on_forward(uint32_t, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  const bool gated = reader.get<uint8_t>() != 0;
  session::Delivery delivery;
  if (!get_delivery(reader, attachment, delivery)) return false;
  const auto it = inbound_.find(claim);
  if (it == inbound_.end()) {
    // The takeover is complete. What comes through a cut cannot be late, but a shared group's message can: the ghost
    // took it before the old owner knew. It is placed like a new one.
    if (!gated && delivery.group) core_.shared->place_stray(delivery);
    return true;
  }
  session::Session& session = *it->second;
  if (gated) {
    const bus::Uid uid = delivery.message->uid();
    session.inbound->gates[uid.incarnation].forwarded = uid.sequence;
    if (session.inbound->unsubscribed && !still_wants(session, delivery.message->topic())) return true;
    pass(session, std::move(delivery));
  } else if (session.outbound) {
    forward_ungated(session, delivery);
  } else {
    session.deliver(std::move(delivery));
  }
  return true;
}

// After an UNSUBACK nothing more of that filter is sent [MQTT-3.10.4-2].
bool Takeovers::still_wants(const session::Session& session, std::string_view topic) const {
  for (const session::OwnSubscription& own : session.subscriptions.all()) {
    if (proto::matches(core_.tree.filter_of(own.node), topic)) return true;
  }
  return false;
}

bool Takeovers::on_part_end(std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  const auto origin = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = inbound_.find(claim);
  if (it == inbound_.end()) return true;
  it->second->inbound->gates[origin].part_done = true;
  open_gate(*it->second, origin);
  return true;
}

// Lets the held messages of an origin pass if its part is complete.
void Takeovers::open_gate(session::Session& session, uint64_t origin) {
  Inbound::Gate& gate = session.inbound->gates[origin];
  if (!gate.open()) return;
  std::vector<session::Delivery> held = std::move(gate.held);
  gate.held.clear();
  const uint64_t boundary = gate.boundary();
  for (session::Delivery& delivery : held) {
    session.inbound->held_bytes -= delivery.message->footprint();
    if (delivery.message->uid().sequence > boundary) pass(session, std::move(delivery));
  }
  if (session.outbound) try_part_end(session, origin);
  check_inbound_done(session);
}

void Takeovers::try_part_end(session::Session& ghost, uint64_t origin) {
  Outbound::Part& part = ghost.outbound->parts[origin];
  if (part.told || !(part.cut || part.ended)) return;
  if (ghost.inbound) {
    const auto gate = ghost.inbound->gates.find(origin);
    if (gate != ghost.inbound->gates.end() && !gate->second.open()) return;
  }
  part.told = true;
  Peer* peer = core_.peers->find(WorkerId{ghost.outbound->to_slot, ghost.outbound->to_incarnation});
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(ghost.outbound->claim).put<uint64_t>(origin);
  core_.peers->send(*peer, bus::FrameType::part_end, bus::kAckSoon, core_.scratch);
}

void Takeovers::check_inbound_done(session::Session& session) {
  for (const auto& [origin, gate] : session.inbound->gates) {
    if (!gate.open() || !gate.held.empty()) return;  // several gates open at once when the old owner dies
  }
  const std::unique_ptr<Inbound> done = std::move(session.inbound);
  inbound_.erase(done->claim);
  tell_done(*done);
}

void Takeovers::tell_done(const Inbound& inbound) {
  Peer* peer = core_.peers->find(WorkerId{inbound.from_slot, inbound.from_incarnation});
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(inbound.claim);
  core_.peers->send(*peer, bus::FrameType::takeover_done, 0, core_.scratch);
}

bool Takeovers::on_done(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = ghosts_.find({from.incarnation, claim});
  if (it != ghosts_.end()) core_.sessions->end(*it->second);
  return true;
}

void Takeovers::on_session_ending(session::Session& session) {
  if (session.outbound) ghosts_.erase({session.outbound->to_incarnation, session.outbound->claim});
  if (session.inbound) {
    inbound_.erase(session.inbound->claim);
    tell_done(*session.inbound);
  }
}

void Takeovers::sync_to(Peer& peer) {
  for (auto& [claim, session] : inbound_) {
    session->inbound->gates[peer.id.incarnation];
    send_request(peer, *session->inbound);
  }
}

bool Takeovers::on_part_request(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  WorkerId origin;
  origin.slot = reader.get<uint32_t>();
  origin.incarnation = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = ghosts_.find({from.incarnation, claim});
  // A stream that still runs here ends with on_peer_gone().
  if (it == ghosts_.end() || core_.peers->find(origin) != nullptr) return true;
  it->second->outbound->parts[origin.incarnation].ended = true;
  try_part_end(*it->second, origin.incarnation);
  return true;
}

void Takeovers::on_peer_gone(const WorkerId& gone) {
  std::vector<session::Session*> orphans;
  for (auto& [key, ghost] : ghosts_) {
    if (key.to_incarnation == gone.incarnation) orphans.push_back(ghost);
  }
  // Their new owner, and with it the session, is gone.
  for (session::Session* ghost : orphans) core_.sessions->end(*ghost);

  std::vector<session::Session*> receivers;
  for (auto& [claim, session] : inbound_) receivers.push_back(session);
  for (session::Session* session : receivers) {
    Inbound& inbound = *session->inbound;
    const auto it = inbound.gates.find(gone.incarnation);
    if (it != inbound.gates.end()) it->second.ended = true;
    if (inbound.from_incarnation == gone.incarnation) {
      for (auto& [origin, gate] : inbound.gates) {
        // Its part ends with what it has forwarded; the rest of its share is held here, or comes.
        if (!gate.part_done) gate.cut = gate.forwarded;
        gate.part_done = true;
      }
      std::vector<uint64_t> origins;
      for (auto& [origin, gate] : inbound.gates) origins.push_back(origin);
      for (const uint64_t origin : origins) {
        if (session->inbound) open_gate(*session, origin);
      }
      continue;
    }
    if (it == inbound.gates.end()) continue;
    if (!it->second.part_done) {
      if (Peer* old_owner = core_.peers->find(WorkerId{inbound.from_slot, inbound.from_incarnation})) {
        bus::Writer(core_.scratch)
            .put<uint64_t>(inbound.claim)
            .put<uint32_t>(gone.slot)
            .put<uint64_t>(gone.incarnation);
        core_.peers->send(*old_owner, bus::FrameType::part_request, 0, core_.scratch);
      }
    }
    open_gate(*session, gone.incarnation);
  }
  for (auto& [key, ghost] : ghosts_) {
    ghost->outbound->parts[gone.incarnation].ended = true;
    try_part_end(*ghost, gone.incarnation);
  }
}

}  // namespace broker
