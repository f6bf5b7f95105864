#include "worker/broker/shared_dispatch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "shared/bus/message_codec.h"
#include "worker/broker/host_life.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/session/takeover_state.h"

namespace broker {
namespace {

// A refusal means that the peer's announcement crossed our message, or that it has offline members only and believes
// somebody live elsewhere. Then one of us two is to hear something, and until then asking again is of no use.
constexpr uint8_t kMaxAttempts = 16;
constexpr uint8_t kMaxAttemptsLive = 128;

}  // namespace

router::SharedStrategy strategy_of(config::SharedStrategy strategy) {
  switch (strategy) {
    case config::SharedStrategy::round_robin:
      return router::SharedStrategy::round_robin;
    case config::SharedStrategy::random:
      return router::SharedStrategy::random;
    case config::SharedStrategy::sticky:
      return router::SharedStrategy::sticky;
    case config::SharedStrategy::hash_client_id:
      return router::SharedStrategy::hash_client_id;
    case config::SharedStrategy::local:
      return router::SharedStrategy::local;
    case config::SharedStrategy::least_inflight:
      return router::SharedStrategy::least_inflight;
  }
  return router::SharedStrategy::round_robin;
}

SharedDispatch::SharedDispatch(Core& core)
    : core_(core),
      strategy_(strategy_of(core.mqtt.shared_subscription_strategy)),
      inflight_of_([this](router::SubscriberId member) {
        return static_cast<uint32_t>(core_.sessions->by_id(member)->inflight().size());
      }) {}

std::shared_ptr<const session::GroupName> SharedDispatch::name_of(const router::SharedGroup& group) {
  auto& name = names_[&group];
  if (!name) name = std::make_shared<session::GroupName>(session::GroupName{group.filter(), group.name()});
  return name;
}

void SharedDispatch::release(router::SharedGroup& group) {
  const router::SharedGroup* key = &group;
  if (core_.tree.release_group(group)) names_.erase(key);
}

bool SharedDispatch::dispatch(router::SharedGroup& group, const bus::MessageRef& message,
                              connection::MqttClient* client) {
  Placement p;
  p.message = message;
  p.group = name_of(group);
  p.stored = (message->once().sequence & kAccepted) != 0;
  return place(group, std::move(p), client);
}

// Members of this host come before others where the strategy says so, and where other hosts said no.
std::optional<router::SharedGroup::Choice> SharedDispatch::pick(router::SharedGroup& group, const Placement& p,
                                                                const router::PeerSet& refused) {
  const auto among = [&](const router::PeerSet& but) {
    return group.pick(strategy_, p.message->publisher(), but, true, core_.self.slot, *core_.env.random, inflight_of_);
  };
  if (core_.gateway_slot() == Core::kNoSlot) return among(refused);
  router::PeerSet far = refused;
  far.insert(core_.gateway_slot());
  if (p.near || (strategy_ == router::SharedStrategy::local && group.live_but(far))) {
    if (const auto choice = among(far)) return choice;
  }
  return among(refused);
}

bool SharedDispatch::place(router::SharedGroup& group, Placement p, connection::MqttClient* client) {
  const proto::QoS qos = p.message->qos();
  const uint8_t most = group.live_anywhere() ? kMaxAttemptsLive : kMaxAttempts;
  router::PeerSet unreachable;
  std::optional<uint32_t> dead;
  bool refused = false;
  for (;;) {
    const auto choice = pick(group, p, unreachable);
    if (!choice) {
      if (refused && qos != proto::QoS::at_most_once) {
        refused_.push_back(std::move(p));
        return true;
      }
      if (dead && qos == proto::QoS::exactly_once && p.stored) {
        pin(std::move(p), *dead);
        return true;
      }
      if (dead && qos != proto::QoS::at_most_once) {
        if (p.ticket == kNoTicket) p.ticket = core_.tickets->wait();
        parked_.push_back({std::move(p), std::nullopt});
        return true;
      }
      if (!unreachable.empty()) core_.page.add(metrics::Counter::publish_dropped_bus);
      return false;
    }
    if (choice->is_local) {
      place_here(group, choice->subscriber, std::move(p));
      return true;
    }
    Peer* peer = core_.peers->find(choice->peer);
    const bool credit = peer != nullptr && core_.peers->has_credit(*peer);
    if (peer == nullptr) dead = choice->peer;
    if (peer != nullptr && p.attempts >= most) refused = true;
    if (peer == nullptr || p.attempts >= most || (!credit && qos == proto::QoS::at_most_once)) {
      unreachable.insert(choice->peer);
      continue;
    }
    if (!credit && client != nullptr) core_.peers->hold_back(*peer, *client);
    if (qos == proto::QoS::exactly_once && p.stored) {
      pin(std::move(p), choice->peer);
    } else {
      if (p.ticket == kNoTicket && p.attempts == 0) p.ticket = core_.tickets->wait();
      send(*peer, std::move(p));
    }
    return true;
  }
}

void SharedDispatch::place_here(router::SharedGroup& group, router::SubscriberId member, Placement p) {
  session::Session& session = *core_.sessions->by_id(member);
  const bool once = p.message->qos() == proto::QoS::exactly_once;
  if (!is_certain(session)) return wait_here_for(session, std::move(p));
  if (once && p.stored && !session.stored()) return give_when_forgotten(std::move(p), member);
  if (p.ticket != kNoTicket) core_.tickets->resume(p.ticket);
  const bool known = once && !p.promised && given_.contains(key_of(p));
  if (!known) give(session, group, p.message);
  forget_record(p);
  if (p.ticket != kNoTicket) core_.tickets->end_resumed();
}

// --- members that may not be here ---

bool SharedDispatch::is_certain(const session::Session& session) {
  return session.inbound == nullptr && session.unconfirmed == 0;
}

// What waits counts like a queue. QoS 0 is not kept for a client that is not there.
void SharedDispatch::wait_for(const session::Session& session, Waiting what) {
  Placement& p = what.placement;
  size_t& bytes = waiting_bytes_[session.id()];
  const bool full = bytes + p.message->footprint() > core_.mqtt.max_queued_bytes;
  if (full || p.message->qos() == proto::QoS::at_most_once) {
    if (full) core_.page.add(metrics::Counter::publish_dropped_queue);
    forget_record(p);
    if (what.question) {
      send_result(what.question->from, what.question->token, SharedResult::accepted);
    } else {
      core_.tickets->done(p.ticket);
    }
    return;
  }
  what.bytes = p.message->footprint();
  bytes += what.bytes;
  waiting_[session.id()].push_back(std::move(what));
}

// What is stored already stays so, as a message for this worker itself.
void SharedDispatch::wait_here_for(const session::Session& session, Placement p) {
  if (p.message->qos() == proto::QoS::exactly_once && p.stored) {
    if (p.record_slot != core_.self.slot) forget_record(p);
    if (p.record == 0) write_record(p, core_.self.slot);
    core_.journal->wait(p.ticket == kNoTicket ? core_.tickets->wait_here() : std::exchange(p.ticket, kNoTicket));
  } else if (p.ticket == kNoTicket && p.attempts == 0) {
    p.ticket = core_.tickets->wait();
  }
  wait_for(session, {std::move(p), std::nullopt});
}

void SharedDispatch::on_member_certain(session::Session& session) {
  if (waiting_.empty()) return;
  waiting_bytes_.erase(session.id());
  const auto node = waiting_.extract(session.id());
  if (node.empty()) return;
  for (Waiting& what : node.mapped()) go_on(std::move(what), session.id());
}

void SharedDispatch::on_member_gone(const session::Session& session) {
  if (waiting_.empty()) return;
  waiting_bytes_.erase(session.id());
  const auto node = waiting_.extract(session.id());
  if (node.empty()) return;
  for (Waiting& what : node.mapped()) go_on(std::move(what), std::nullopt);
}

void SharedDispatch::go_on(Waiting what, std::optional<router::SubscriberId> member) {
  Placement& p = what.placement;
  router::SharedGroup* group = core_.tree.find_group(p.group->filter, p.group->name);
  const bool given = member && group != nullptr && group->member(*member) != nullptr;
  if (what.question && given) {
    answer(*what.question, *group, *member, p.message);
  } else if (what.question) {
    look_for_member(*what.question, p.group->name, p.group->filter, p.message);
  } else if (given) {
    core_.tickets->begin_unwatched();
    place_here(*group, *member, std::move(p));
  } else {
    place_or_drop(std::move(p));
  }
}

// A QoS 2 message that is stored here is sent again after our death, and then must come to the same worker, which knows
// whether it has it: the choice is stored first, in the batch that forgets where the message was before.
void SharedDispatch::pin(Placement p, uint32_t slot) {
  forget_record(p);
  write_record(p, slot);
  core_.journal->wait(p.ticket == kNoTicket ? core_.tickets->wait_here() : std::exchange(p.ticket, kNoTicket));
  send_pinned(std::move(p), slot);
}

void SharedDispatch::send_pinned(Placement p, uint32_t slot) {
  core_.journal->then([this, slot, pinned = std::move(p)]() mutable {
    if (Peer* peer = core_.peers->find(slot)) {
      send(*peer, std::move(pinned));
    } else {
      parked_.push_back({std::move(pinned), slot});
    }
  });
}

void SharedDispatch::write_record(Placement& p, uint32_t slot) {
  p.record = core_.outbox->take_number();
  p.record_slot = slot;
  p.stored = true;
  write_pin(p);
}

void SharedDispatch::write_pin(const Placement& p) {
  std::string key;
  std::string value;
  store::outbox_key(key, p.record_slot, p.record);
  const store::Purpose purpose = is_gateway(p.record_slot) ? store::Purpose::shared_far : store::Purpose::shared;
  store::encode_pending(value, purpose, p.group->name, p.group->filter, *p.message, core_.journal->now(), p.node);
  core_.journal->put(key, value);
}

// A member whose session is not stored gets the message when nothing stored would give it to another any more.
void SharedDispatch::give_when_forgotten(Placement p, router::SubscriberId member) {
  forget_record(p);
  core_.journal->wait(p.ticket == kNoTicket ? core_.tickets->wait_here() : std::exchange(p.ticket, kNoTicket));
  p.stored = false;
  core_.journal->after_turn([this, member, placement = std::move(p)] { give_or_place(placement, member); });
}

// Nor when another could still be asked for it: the answer survives us before the client has the message.
void SharedDispatch::give_when_answered(Peer& to, Placement p, router::SubscriberId member) {
  remember(p.message->once(), *p.group);
  const uint64_t changes = core_.journal->changes();
  if (std::exchange(p.stored, false)) write_mark(p.message->once(), p.group->name, p.group->filter);
  p.promised = true;
  core_.tickets->begin([this, member, placement = std::move(p)] { give_or_place(placement, member); });
  core_.peers->wait_written(to, core_.tickets->wait());
  if (core_.journal->changes() != changes) core_.journal->wait(core_.tickets->wait());
  core_.tickets->end();
}

void SharedDispatch::give_or_place(const Placement& p, router::SubscriberId member) {
  router::SharedGroup* group = core_.tree.find_group(p.group->filter, p.group->name);
  core_.tickets->begin_unwatched();
  if (group != nullptr && group->member(member) != nullptr && is_certain(*core_.sessions->by_id(member))) {
    give(*core_.sessions->by_id(member), *group, p.message);
  } else {
    Placement again = p;
    again.stored = true;  // whoever asked was told that it is taken, and has it no more
    place_or_drop(std::move(again));
  }
}

void SharedDispatch::forget_record(Placement& p) {
  if (p.record == 0) return;
  core_.outbox->forget(p.record_slot, std::exchange(p.record, 0));
}

void SharedDispatch::send(Peer& peer, Placement p) {
  const bool named = is_gateway(peer.id.slot) && p.message->qos() == proto::QoS::exactly_once;
  if (named && p.node.empty()) return ask_where(peer, std::move(p));
  const uint64_t token = next_token_++;
  bus::Writer head(core_.scratch);
  head.put<uint64_t>(token);
  if (named) head.put<uint8_t>(p.repeat).text(p.node);
  head.text(p.group->name).text(p.group->filter);
  const bus::FrameType type = named ? bus::FrameType::shared_at : bus::FrameType::shared_publish;
  const bool asked_again = p.record != 0 && !is_gateway(peer.id.slot);  // a gateway asks in ways of its own
  const uint8_t flags = asked_again ? bus::kAckSoon | bus::kAskedAgain : bus::kAckSoon;
  bus::append_message_frame(peer.link, type, flags, core_.scratch, *p.message);
  core_.peers->mark_dirty(peer);
  if (router::SharedGroup* group = core_.tree.find_group(p.group->filter, p.group->name)) {
    group->add_remote_inflight(peer.id.slot, 1);
  }
  outstanding_[token] = {std::move(p), peer.id};
  core_.page.add(metrics::Counter::bus_messages_sent);
}

void SharedDispatch::restore(uint32_t slot, uint64_t number, const store::PendingRecord& record) {
  Placement p;
  p.message = record.message;
  p.group = std::make_shared<session::GroupName>(session::GroupName{record.filter, record.group});
  p.stored = true;
  p.record = number;
  p.record_slot = slot;
  if (!record.node.empty()) {
    p.node = record.node;
    p.repeat = true;
    // With nobody left to ask it can only be given up: that host may have it.
    if (core_.gateway_slot() == Core::kNoSlot) return forget_record(p);
    parked_.push_back({std::move(p), core_.gateway_slot()});
    return;
  }
  const bool elsewhere = record.purpose == store::Purpose::shared && slot != core_.self.slot && slot < core_.slots;
  parked_.push_back({std::move(p), elsewhere ? std::optional(slot) : std::nullopt});
}

void SharedDispatch::on_ready() {
  if (core_.life->unsure_until() != 0) return;  // on_life_known()
  for (Parked& parked : std::exchange(parked_, {})) {
    if (parked.slot) {
      parked_.push_back(std::move(parked));
    } else {
      place_or_drop(std::move(parked.placement));
    }
  }
}

// Also what was placed later, if it was accepted before: it is placed there as well.
void SharedDispatch::give_up(const CopiedTo& copied_to) {
  const auto gives_up = [&](Placement& p) {
    if (p.record == 0) return false;
    const uint64_t once = p.message->once().sequence;
    const bool accepted = (once & kAccepted) != 0 && (once & ~kAccepted) < copied_to.accepted;
    if (p.record >= copied_to.outbox && !accepted) return false;
    forget_record(p);
    core_.tickets->done(p.ticket);
    return true;
  };
  std::erase_if(parked_, [&](Parked& parked) { return gives_up(parked.placement); });
  std::erase_if(refused_, gives_up);
  for (auto& [member, waiting] : waiting_) {
    std::erase_if(waiting, [&, id = member](Waiting& what) {
      const bool gone = !what.question && gives_up(what.placement);
      if (gone) waiting_bytes_[id] -= what.bytes;
      return gone;
    });
  }
}

void SharedDispatch::on_life_known() {
  if (!core_.peers->ready()) return;
  on_ready();
  for (Parked& parked : std::exchange(parked_, {})) {
    Peer* peer = parked.slot ? core_.peers->find(*parked.slot) : nullptr;
    if (peer != nullptr && peer->synced) {
      send(*peer, std::move(parked.placement));
    } else {
      parked_.push_back(std::move(parked));
    }
  }
}

void SharedDispatch::on_peer_synced(Peer& peer) {
  for (Parked& parked : std::exchange(parked_, {})) {
    const bool waits = parked.slot && *parked.slot != peer.id.slot;
    if (waits || core_.life->unsure_until() != 0) {
      parked_.push_back(std::move(parked));
    } else if (parked.slot) {
      send(peer, std::move(parked.placement));
    } else if (!core_.peers->ready()) {
      parked_.push_back(std::move(parked));  // not everybody has told its members: on_ready()
    } else {
      place_or_drop(std::move(parked.placement));
    }
  }
  offer_again();
}

void SharedDispatch::offer_again() {
  for (Placement& p : std::exchange(refused_, {})) {
    p.attempts = 0;
    place_or_drop(std::move(p));
  }
}

void SharedDispatch::speak_again() {
  for (auto it = refused_to_.begin(); it != refused_to_.end();) {
    const router::SharedGroup* group = core_.tree.find_group(it->first, it->second);
    if (group != nullptr && group->live_anywhere()) {
      ++it;
      continue;
    }
    if (group != nullptr) core_.interest->announce_group(*group);
    it = refused_to_.erase(it);
  }
}

void SharedDispatch::place_or_drop(Placement p) {
  core_.tickets->begin_unwatched();
  router::SharedGroup* group = core_.tree.find_group(p.group->filter, p.group->name);
  const Placement before = p;
  if (group != nullptr && place(*group, std::move(p))) return;
  Placement dropped = before;
  forget_record(dropped);
  core_.tickets->done(dropped.ticket);
}

void SharedDispatch::give(session::Session& session, const router::SharedGroup& group, const bus::MessageRef& message) {
  const router::SharedGroup::Member* member = group.member(session.id());
  session::Delivery delivery;
  delivery.message = message;
  delivery.qos = std::min(member->options.qos, message->qos());
  delivery.retain = member->options.retain_as_published && message->retain();
  delivery.ids.add(member->options.identifier);
  delivery.group = name_of(group);
  if (message->qos() == proto::QoS::exactly_once) remember(message->once(), *delivery.group);
  const uint64_t changes = core_.journal->changes();
  session.deliver(std::move(delivery));
  if (core_.journal->changes() != changes) core_.journal->wait(core_.tickets->wait_here());
}

SharedDispatch::Given SharedDispatch::key_of(const bus::Uid& once, std::string_view name, std::string_view filter) {
  return {once.incarnation, once.sequence, std::hash<std::string_view>()(name), std::hash<std::string_view>()(filter)};
}

SharedDispatch::Given SharedDispatch::key_of(const Placement& p) {
  return key_of(p.message->once(), p.group->name, p.group->filter);
}

void SharedDispatch::remember(const bus::Uid& once, const session::GroupName& group) {
  const Given given = key_of(once, group.name, group.filter);
  if (!given_.insert(given).second) return;
  given_order_.push_back(given);
  if (given_order_.size() <= kRemembered) return;
  given_.erase(given_order_.front());
  given_order_.pop_front();
}

uint64_t SharedDispatch::mark_of(const bus::Uid& once, std::string_view name, std::string_view filter) {
  uint64_t h = 0xCBF29CE484222325ULL;
  const auto mix = [&h](const auto& bytes) {
    for (const char byte : bytes) h = (h ^ static_cast<unsigned char>(byte)) * 0x100000001B3ULL;
  };
  std::string head;
  bus::Writer(head).put<uint64_t>(once.incarnation).put<uint64_t>(once.sequence).text(name);
  mix(head);
  mix(filter);
  return (h ^ (h >> 32)) * 0xD6E8FEB86659FD93ULL;
}

bool SharedDispatch::has_mark(const bus::Uid& once, std::string_view name, std::string_view filter) const {
  return !marks_.empty() && marks_.contains(mark_of(once, name, filter));
}

void SharedDispatch::write_mark(const bus::Uid& once, std::string_view name, std::string_view filter) {
  const uint64_t mark = mark_of(once, name, filter);
  const uint64_t number = mark_order_.empty() ? 1 : mark_order_.rbegin()->first + 1;
  restore_mark(mark, number);
  std::string key;
  std::string value;
  store::seen_key(key, 0, mark, kGivenMark);
  store::encode_number(value, number);
  core_.journal->put(key, value);
  drop_old_marks();
}

void SharedDispatch::restore_mark(uint64_t name, uint64_t number) {
  while (mark_order_.contains(number)) ++number;  // of a store made of several
  marks_[name] = number;
  mark_order_[number] = name;
}

void SharedDispatch::drop_old_marks() {
  std::string key;
  while (mark_order_.size() > kRemembered) {
    const auto oldest = mark_order_.begin();
    store::seen_key(key, 0, oldest->second, kGivenMark);
    core_.journal->erase(key);
    marks_.erase(oldest->second);
    mark_order_.erase(oldest);
  }
}

bool SharedDispatch::on_publish(Peer& from, uint8_t flags, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message) return false;
  core_.page.add(metrics::Counter::bus_messages_received);
  look_for_member({from.id, token, (flags & bus::kAskedAgain) != 0}, name, filter, message);
  return true;
}

void SharedDispatch::look_for_member(const Question& question, std::string_view name, std::string_view filter,
                                     const bus::MessageRef& message) {
  const bool once = message->qos() == proto::QoS::exactly_once;
  const auto key = key_of(message->once(), name, filter);
  if (once && (given_.contains(key) || has_mark(message->once(), name, filter))) {
    // A member here has it; who asks again, after a death, was not told any more.
    core_.tickets->begin([this, to = question.from, token = question.token, how = how_given(question.from, key)] {
      send_result(to, token, how);
    });
    core_.journal->wait(core_.tickets->wait_here());
    core_.tickets->end();
    return;
  }
  if (router::SharedGroup* group = core_.tree.find_group(filter, name)) {
    // Offline members take it only when nobody is live anywhere.
    const auto member =
        group->pick_local(strategy_, message->publisher(), !group->live_anywhere(), *core_.env.random, inflight_of_);
    if (member) return answer(question, *group, *member, message);
    if (!group->members().empty()) refused_to_.emplace(filter, name);
  }
  send_result(question.from, question.token, SharedResult::refused);
}

void SharedDispatch::answer(const Question& question, router::SharedGroup& group, router::SubscriberId member,
                            const bus::MessageRef& message) {
  const bool once = message->qos() == proto::QoS::exactly_once;
  session::Session& session = *core_.sessions->by_id(member);
  Placement p;
  p.message = message;
  p.group = name_of(group);
  p.stored = question.asked_again;
  if (!is_certain(session)) {
    p.stored = false;  // with who asks
    return wait_for(session, {std::move(p), question});
  }
  Peer* from = core_.peers->find(question.from);
  if (from == nullptr) return;
  if (once && !session.stored()) {
    if (is_gateway(question.from.slot)) {
      reserve(question.from, std::move(p), member);
      send_result(question.from, question.token, SharedResult::reserved);
    } else {
      send_result(question.from, question.token, SharedResult::accepted);
      give_when_answered(*from, std::move(p), member);
    }
    return;
  }
  core_.tickets->begin(
      [this, to = question.from, token = question.token] { send_result(to, token, SharedResult::accepted); });
  // A gateway asks again, too, and those behind it: after the death of all here they ask who goes on with the store.
  if (once && (question.asked_again || is_gateway(question.from.slot)))
    write_mark(message->once(), group.name(), group.filter());
  give(session, group, message);
  core_.tickets->end();
}

bool SharedDispatch::on_result(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const bool accepted = static_cast<SharedResult>(reader.get<uint8_t>()) != SharedResult::refused;
  if (!reader.at_end()) return false;
  const auto it = outstanding_.find(token);
  if (it == outstanding_.end() || it->second.peer != from.id) return true;
  Placement p = std::move(it->second.placement);
  outstanding_.erase(it);
  if (router::SharedGroup* group = core_.tree.find_group(p.group->filter, p.group->name)) {
    group->add_remote_inflight(from.id.slot, -1);
  }
  if (accepted) {
    forget_record(p);
    core_.tickets->done(p.ticket);
  } else {
    refused(std::move(p), is_gateway(from.id.slot));
  }
  return true;
}

void SharedDispatch::refused(Placement p, bool far) {
  ++p.attempts;
  p.near = far;
  p.repeat = false;
  p.node.clear();
  place_or_drop(std::move(p));
}

void SharedDispatch::on_peer_gone(const WorkerId& peer) {
  speak_again();
  for (auto& [member, waiting] : waiting_) {  // its replacement asks again
    std::erase_if(waiting, [&](const Waiting& what) {
      const bool dead = what.question && what.question->from == peer;
      if (dead) waiting_bytes_[member] -= what.bytes;
      return dead;
    });
  }
  std::vector<uint64_t> tokens;
  for (const auto& [token, o] : outstanding_) {
    if (o.peer == peer) tokens.push_back(token);
  }
  std::sort(tokens.begin(), tokens.end());  // in the order of their publication
  for (const uint64_t token : tokens) {
    Placement p = std::move(outstanding_[token].placement);
    outstanding_.erase(token);
    ++p.attempts;
    if (p.message->qos() == proto::QoS::at_least_once) {
      place_or_drop(std::move(p));
    } else if (is_gateway(peer.slot) && p.message->qos() == proto::QoS::exactly_once && p.node.empty()) {
      place_or_drop(std::move(p));  // nothing but a question was sent
    } else if (p.message->qos() == proto::QoS::exactly_once) {
      p.repeat = true;
      parked_.push_back({std::move(p), peer.slot});  // it may be stored with a member there
    } else {
      core_.tickets->done(p.ticket);
    }
  }
  offer_again();
}

}  // namespace broker
