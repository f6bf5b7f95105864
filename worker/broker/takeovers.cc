#include "worker/broker/takeovers.h"

#include <set>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "worker/broker/claims.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/missed.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/state_transfer.h"
#include "worker/broker/tickets.h"

namespace broker {

using session::Inbound;
using session::Outbound;

// --- the old owner ---

void Takeovers::start_outbound(session::Session& session, const WorkerId& to, uint64_t claim) {
  if (session.outbound) take_back(session);  // an earlier claimant, of whose death we have not heard yet
  session.outbound = std::make_unique<Outbound>();
  session.outbound->to_slot = to.slot;
  session.outbound->to_incarnation = to.incarnation;
  session.outbound->claim = claim;
  outbound_[{to.incarnation, claim}] = &session;
}

void Takeovers::stay(session::Session& session) {
  if (session.outbound) take_back(session);
}

// After a takeover that is over the claim is not known any more. (The gateway hears from the home.)
void Takeovers::on_stale(const session::Session& session) {
  if (!session.outbound || session.outbound->to_slot == core_.gateway_slot()) return;
  const Outbound& out = *session.outbound;
  Peer* to = core_.peers->find(WorkerId{out.to_slot, out.to_incarnation});
  if (to == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(out.claim);
  core_.peers->send(*to, bus::FrameType::reclaim, bus::kAckSoon, core_.scratch);
}

bool Takeovers::on_cut(uint64_t origin, std::string_view body) {
  bus::Reader reader(body);
  const auto owner = reader.get<uint64_t>();
  const auto claim = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = outbound_.find({owner, claim});
  if (it == outbound_.end()) return true;
  it->second->outbound->cuts.insert(origin);
  send_if_complete(*it->second);
  return true;
}

bool Takeovers::on_freeze(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  std::set<uint64_t> wanted;
  for (auto n = reader.get<uint16_t>(); n > 0 && reader.ok(); --n) wanted.insert(reader.get<uint64_t>());
  if (!reader.at_end()) return false;
  const auto it = outbound_.find({from.incarnation, claim});
  if (it == outbound_.end()) return true;
  it->second->outbound->wanted = std::move(wanted);
  send_if_complete(*it->second);
  return true;
}

// It may have been claimed here meanwhile: the cluster could not be asked.
void Takeovers::go_on(session::Session& session) {
  take_back(session);
  if (session.outlet() == nullptr && !session.arriving) core_.sessions->go_offline(session);
}

bool Takeovers::on_abort(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = outbound_.find({from.incarnation, claim});
  if (it == outbound_.end()) return true;
  go_on(*it->second);
  core_.claims->settle_doubts();
  return true;
}

void Takeovers::send_if_complete(session::Session& session) {
  Outbound& outbound = *session.outbound;
  if (outbound.frozen || !outbound.wanted || !core_.peers->all_recovered()) return;
  for (const uint64_t origin : *outbound.wanted) {
    if (!outbound.cuts.contains(origin) && core_.peers->may_say_more(origin)) return;
  }
  if (core_.peers->find(WorkerId{outbound.to_slot, outbound.to_incarnation}) == nullptr) return;
  outbound.frozen = true;
  outbound.left = session.subscriptions.shares();
  core_.interest->leave_groups(session);
  core_.shared->on_member_gone(session);
  // What groups gave it is stored here first: should we die, our replacement is to know that a member was given it.
  const Key key{outbound.to_incarnation, outbound.claim};
  core_.journal->then([this, key] { send_when_read(key); });
}

// What was accepted here of a client that has not released it: it will send that again, and then more, which must not
// be anywhere before it.
void Takeovers::send_when_read(const Key& key) {
  const auto it = outbound_.find(key);
  if (it == outbound_.end() || it->second->incoming_qos2.empty()) return send(key);
  core_.peers->ask_to_acknowledge();
  core_.peers->when_read([this, key] { send(key); });
}

void Takeovers::send(const Key& key) {
  const auto it = outbound_.find(key);
  if (it == outbound_.end() || !it->second->outbound->frozen) return;
  const Outbound& out = *it->second->outbound;
  Peer* to = core_.peers->find(WorkerId{out.to_slot, out.to_incarnation});
  if (to != nullptr) send_state(core_, *to, out.claim, *it->second);
}

// The new owner has died before the session was safe with it, as far as is known here.
void Takeovers::take_back(session::Session& session) {
  const std::unique_ptr<Outbound> outbound = std::move(session.outbound);
  outbound_.erase({outbound->to_incarnation, outbound->claim});
  if (outbound->frozen) session.unconfirmed = core_.claims->doubt();
  for (const session::OwnShare& share : outbound->left) {
    core_.interest->subscribe_shared(session, share.group, share.filter, share.options);
  }
}

// --- the new owner ---

void Takeovers::start_inbound(session::Session& session, const WorkerId& from, uint64_t claim) {
  if (!session.inbound) session.inbound = std::make_unique<Inbound>();
  Inbound& inbound = *session.inbound;
  if (inbound.claim == 0) note_known(core_, inbound);
  inbound.from_slot = from.slot;
  inbound.from_incarnation = from.incarnation;
  inbound.claim = claim;
  inbound.freezing = false;
  inbound.asked.clear();
  inbound.streams.clear();
  inbound_[claim] = &session;
  core_.peers->for_each([&](Peer& peer) { ask(peer, inbound); });
  // Our own stream is cut here.
  Peer* old_owner = core_.peers->find(from);
  if (old_owner == nullptr) return;  // it has died meanwhile: on_peer_gone() is to come
  bus::Writer(core_.scratch).put<uint64_t>(core_.self.incarnation).put<uint64_t>(claim);
  core_.peers->send(*old_owner, bus::FrameType::cut, bus::kAckSoon, core_.scratch);
  inbound.streams.insert(core_.self.incarnation);
}

void Takeovers::ask(Peer& peer, Inbound& inbound) {
  inbound.asked.insert(peer.id.incarnation);
  bus::Writer(core_.scratch)
      .put<uint64_t>(inbound.claim)
      .put<uint32_t>(inbound.from_slot)
      .put<uint64_t>(inbound.from_incarnation);
  core_.peers->send(peer, bus::FrameType::cut_request, bus::kAckSoon, core_.scratch);
}

bool Takeovers::on_cut_sent(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  const auto old_owner = reader.get<uint64_t>();
  const bool sent = reader.get<uint8_t>() != 0;
  if (!reader.at_end()) return false;
  const auto it = inbound_.find(claim);
  if (it == inbound_.end() || it->second->inbound->from_incarnation != old_owner) return true;
  Inbound& inbound = *it->second->inbound;
  if (inbound.asked.erase(from.incarnation) == 0) return true;
  if (sent) inbound.streams.insert(from.incarnation);
  freeze_if_cut(*it->second);
  return true;
}

void Takeovers::freeze_if_cut(session::Session& session) {
  Inbound& inbound = *session.inbound;
  if (inbound.freezing || !inbound.asked.empty() || !core_.peers->all_recovered()) return;
  Peer* peer = core_.peers->find(WorkerId{inbound.from_slot, inbound.from_incarnation});
  if (peer == nullptr) return;
  inbound.freezing = true;
  bus::Writer writer(core_.scratch);
  writer.put<uint64_t>(inbound.claim).put<uint16_t>(static_cast<uint16_t>(inbound.streams.size()));
  for (const uint64_t stream : inbound.streams) writer.put<uint64_t>(stream);
  core_.peers->send(*peer, bus::FrameType::freeze, bus::kAckSoon, core_.scratch);
}

// What is held counts like a queue. QoS 0 is not kept for a client that is not there.
void Takeovers::hold(session::Session& session, session::Delivery delivery) {
  if (delivery.qos == proto::QoS::at_most_once) return;
  Inbound& inbound = *session.inbound;
  const size_t bytes = delivery.message->footprint();
  if (inbound.held_bytes + bytes > core_.mqtt.max_queued_bytes) {
    core_.page.add(metrics::Counter::publish_dropped_queue);
    return;
  }
  inbound.held_bytes += bytes;
  inbound.held.push_back({std::move(delivery), core_.tickets->wait()});
}

std::vector<TicketId> Takeovers::finish_inbound(session::Session& session, const std::map<uint64_t, uint64_t>& seen) {
  for (const auto& [origin, sequence] : seen) {
    // What comes from other hosts is a stream as well, of workers that are not known here.
    if (!core_.config.clustered() && !core_.peers->may_say_more(origin)) continue;
    if (!session.came_with) session.came_with = std::make_unique<std::map<uint64_t, uint64_t>>();
    session.came_with->emplace(origin, sequence);
    if (core_.seen_of(origin) >= sequence) continue;
    if (!session.skip) session.skip = std::make_unique<std::map<uint64_t, uint64_t>>();
    session.skip->emplace(origin, sequence);
  }
  const std::unique_ptr<Inbound> inbound = std::move(session.inbound);
  inbound_.erase(inbound->claim);
  note_missed(session, *inbound);
  std::vector<TicketId> tickets;
  const auto had = [&seen](const bus::Uid& uid) {
    const auto it = seen.find(uid.incarnation);
    return it != seen.end() && uid.sequence <= it->second;
  };
  // A worker of another host may have died meanwhile, and its replacement have sent again what we hold.
  std::set<std::pair<uint64_t, uint64_t>> kept;
  for (Inbound::Held& held : inbound->held) {
    tickets.push_back(held.ticket);
    const bus::MessageRef message = held.delivery.message;
    const bus::Uid& once = message->once();
    const bool again = once != message->uid() && (once.sequence & kAccepted) == 0;
    if (had(message->uid()) || (again && had(once)) || skips_once(session, *message)) continue;
    if (!kept.emplace(once.incarnation, once.sequence).second) continue;
    core_.journal->note_held(*message);
    note_got(session, message->once());
    session.keep(std::move(held.delivery));
  }
  return tickets;
}

bool Takeovers::skips(session::Session& session, const bus::Message& message) {
  const bus::Uid& once = message.once();
  if (once != message.uid() && (once.sequence & kAccepted) == 0) {  // from the store of its worker's replacement
    const auto known = session.skip->find(once.incarnation);
    if (known != session.skip->end() && once.sequence <= known->second) return true;
  }
  const bus::Uid& uid = message.uid();
  const auto it = session.skip->find(uid.incarnation);
  if (it == session.skip->end()) return false;
  if (uid.sequence <= it->second) return true;
  session.skip->erase(it);
  if (session.skip->empty()) session.skip.reset();
  return false;
}

bool Takeovers::skips_once(const session::Session& session, const bus::Message& message) {
  if (!session.skip_once || (message.once().sequence & kAccepted) == 0) return false;
  const auto it = session.skip_once->find(message.once().incarnation);
  return it != session.skip_once->end() && message.once().sequence <= it->second;
}

// --- any worker ---

bool Takeovers::on_cut_request(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  WorkerId old_owner;
  old_owner.slot = reader.get<uint32_t>();
  old_owner.incarnation = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  bool sent = old_owner == core_.self;
  if (sent) {
    const auto it = outbound_.find({from.id.incarnation, claim});
    if (it != outbound_.end()) it->second->outbound->cuts.insert(core_.self.incarnation);
  } else if (Peer* peer = core_.peers->find(old_owner)) {
    bus::Writer(core_.scratch).put<uint64_t>(from.id.incarnation).put<uint64_t>(claim);
    core_.peers->send(*peer, bus::FrameType::cut, bus::kAckSoon, core_.scratch);
    sent = true;
  }  // else nothing of ours has gone to the old owner, and nothing will without going to the new one too
  bus::Writer(core_.scratch).put<uint64_t>(claim).put<uint64_t>(old_owner.incarnation).put<uint8_t>(sent);
  core_.peers->send(from, bus::FrameType::cut_sent, bus::kAckSoon, core_.scratch);
  return true;
}

void Takeovers::on_session_ending(session::Session& session) {
  if (session.outbound) outbound_.erase({session.outbound->to_incarnation, session.outbound->claim});
  if (!session.inbound) return;
  const std::unique_ptr<Inbound> inbound = std::move(session.inbound);
  inbound_.erase(inbound->claim);
  for (const Inbound::Held& held : inbound->held) core_.tickets->done(held.ticket);
}

void Takeovers::sync_to(Peer& peer) {
  for (auto& [claim, session] : inbound_) {
    if (!session->inbound->freezing) ask(peer, *session->inbound);
  }
}

void Takeovers::on_recovered() {
  std::vector<session::Session*> moving;
  for (auto& [key, session] : outbound_) moving.push_back(session);
  for (session::Session* session : moving) send_if_complete(*session);
  for (auto& [claim, session] : inbound_) freeze_if_cut(*session);
}

void Takeovers::on_peer_gone(const WorkerId& gone) {
  std::vector<session::Session*> moving;
  for (auto& [key, session] : outbound_) moving.push_back(session);
  for (session::Session* session : moving) {
    if (session->outbound->to_incarnation != gone.incarnation) {
      send_if_complete(*session);
      continue;
    }
    go_on(*session);
  }
  for (auto& [claim, session] : inbound_) {
    session->inbound->asked.erase(gone.incarnation);
    if (session->inbound->from_incarnation != gone.incarnation) freeze_if_cut(*session);
  }
}

}  // namespace broker
