#include "worker/broker/shared_dispatch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "shared/bus/message_codec.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/broker/takeovers.h"
#include "worker/session/takeover_state.h"

namespace broker {
namespace {

// A refusal means that the peer's announcement crossed our message, or that it has offline members only and believes
// somebody live elsewhere. Then one of us two is to hear something, and until then asking again is of no use.
constexpr uint8_t kMaxAttempts = 16;
constexpr uint8_t kMaxAttemptsLive = 128;

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

}  // namespace

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

bool SharedDispatch::place(router::SharedGroup& group, Placement p, connection::MqttClient* client) {
  const proto::QoS qos = p.message->qos();
  const uint8_t most = group.live_anywhere() ? kMaxAttemptsLive : kMaxAttempts;
  router::PeerSet unreachable;
  std::optional<uint32_t> dead;
  bool refused = false;
  for (;;) {
    const auto choice = group.pick(strategy_, p.message->publisher(), unreachable, true, core_.self.slot,
                                   *core_.env.random, inflight_of_);
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
    if (choice->is_local && qos == proto::QoS::exactly_once && p.stored &&
        !core_.sessions->by_id(choice->subscriber)->stored()) {
      give_when_forgotten(std::move(p), choice->subscriber);
      return true;
    }
    if (choice->is_local) {
      if (p.ticket != kNoTicket) core_.tickets->resume(p.ticket);
      const bool known = qos == proto::QoS::exactly_once && !p.promised && given_.contains(key_of(p));
      if (!known) give(*core_.sessions->by_id(choice->subscriber), group, p.message);
      forget_record(p);
      if (p.ticket != kNoTicket) core_.tickets->end_resumed();
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

// A QoS 2 message that is stored here is sent again after our death, and then must come to the same worker, which knows
// whether it has it: the choice is stored first, in the batch that forgets where the message was before.
void SharedDispatch::pin(Placement p, uint32_t slot) {
  forget_record(p);
  write_record(p, slot);
  core_.journal->wait(p.ticket == kNoTicket ? core_.tickets->wait_here() : std::exchange(p.ticket, kNoTicket));
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
  std::string key;
  std::string value;
  store::outbox_key(key, slot, p.record);
  store::encode_pending(value, store::Purpose::shared, p.group->name, p.group->filter, *p.message,
                        core_.journal->now());
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
  if (group != nullptr && group->member(member) != nullptr) {
    give(*core_.sessions->by_id(member), *group, p.message);
  } else {
    place_or_drop(p);
  }
}

void SharedDispatch::forget_record(Placement& p) {
  if (p.record == 0) return;
  core_.outbox->forget(p.record_slot, std::exchange(p.record, 0));
}

void SharedDispatch::send(Peer& peer, Placement p) {
  const uint64_t token = next_token_++;
  bus::Writer(core_.scratch).put<uint64_t>(token).text(p.group->name).text(p.group->filter);
  const uint8_t flags = bus::kAckSoon | (p.record != 0 ? bus::kAskedAgain : 0);
  bus::append_message_frame(peer.link, bus::FrameType::shared_publish, flags, core_.scratch, *p.message);
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
  const bool elsewhere = slot != core_.self.slot && slot < core_.slots;
  parked_.push_back({std::move(p), elsewhere ? std::optional(slot) : std::nullopt});
}

void SharedDispatch::on_ready() {
  for (Parked& parked : std::exchange(parked_, {})) {
    if (parked.slot) {
      parked_.push_back(std::move(parked));
    } else {
      place_or_drop(std::move(parked.placement));
    }
  }
}

void SharedDispatch::on_peer_synced(Peer& peer) {
  for (Parked& parked : std::exchange(parked_, {})) {
    if (parked.slot && *parked.slot != peer.id.slot) {
      parked_.push_back(std::move(parked));
    } else if (parked.slot) {
      send(peer, std::move(parked.placement));
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
  if (session.inbound) {
    core_.takeovers->hold(session, std::move(delivery));
    return;
  }
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

void SharedDispatch::on_member_online(session::Session& session) {
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    if (group == nullptr) continue;
    group->set_live(session.id(), true);
    core_.interest->announce_group(*group);
    on_group_changed(*group);
  }
}

void SharedDispatch::on_member_offline(session::Session& session) {
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    if (group == nullptr) continue;
    group->set_live(session.id(), false);
    group->was_live = group->live_anywhere();
    core_.interest->announce_group(*group);
  }
  redistribute(session, true, session.take_shared([this](const session::GroupName& name) {
    const router::SharedGroup* group = core_.tree.find_group(name.filter, name.name);
    return group != nullptr && group->live_anywhere();
  }));
}

void SharedDispatch::on_member_left(session::Session& session, std::string_view filter, std::string_view name) {
  const router::SharedGroup* group = core_.tree.find_group(filter, name);
  if (group == nullptr || group->empty()) return;
  redistribute(session, false, session.take_shared([&](const session::GroupName& of) {
    return of.filter == filter && of.name == name;
  }));
}

void SharedDispatch::on_member_ended(session::Session& session) {
  redistribute(session, false, session.take_shared([](const session::GroupName&) { return true; }));
}

// What the session was loaded with is with its newer self; what it was given since then is not.
void SharedDispatch::on_member_stale(session::Session& session) {
  if (session.unconfirmed == 0) return;
  std::vector<session::Delivery> given;
  for (session::Delivery& delivery : session.take_shared([](const session::GroupName&) { return true; })) {
    if (delivery.position >= session.unconfirmed) {
      given.push_back(std::move(delivery));
    } else {
      core_.records->erase_delivery(session.sid, delivery.position, delivery.records);
    }
  }
  redistribute(session, false, std::move(given));
}

void SharedDispatch::on_confirmed() {
  std::vector<router::SharedGroup*> groups;
  core_.tree.for_each_group([&](router::SharedGroup& group) { groups.push_back(&group); });
  for (router::SharedGroup* group : groups) {
    group->was_live = false;
    on_group_changed(*group);
  }
}

void SharedDispatch::on_group_changed(router::SharedGroup& group) {
  speak_again();
  offer_again();
  const bool became_live = group.live_anywhere() && !group.was_live;
  group.was_live = group.live_anywhere();
  if (!became_live || group.offline_members() == 0) return;
  std::vector<router::SubscriberId> offline;
  for (const router::SharedGroup::Member& member : group.members()) {
    if (!member.live) offline.push_back(member.subscriber);
  }
  for (const router::SubscriberId id : offline) {
    session::Session& session = *core_.sessions->by_id(id);
    if (session.inbound || session.connected() || session.unconfirmed != 0) continue;
    redistribute(session, true, session.take_shared([&](const session::GroupName& of) {
      return of.filter == group.filter() && of.name == group.name();
    }));
  }
}

// A QoS 2 message that is given back is placed under an identity of its own: workers that had it, before it went from
// one to the other with its session, are to take it again; but its publisher's worker, should it ask again after a
// death, is to hear that it was taken.
bus::MessageRef SharedDispatch::renumbered(const bus::MessageRef& message) {
  if (message->qos() != proto::QoS::exactly_once) return message;
  bus::Message::Fields fields = bus::fields_of(*message);
  fields.uid = core_.next_uid();
  fields.once = {};
  return bus::Message::make(fields);
}

void SharedDispatch::redistribute(const session::Session& from, bool stays, std::vector<session::Delivery> deliveries) {
  for (session::Delivery& delivery : deliveries) {
    // What is stored stays so until it is safe elsewhere.
    const auto erased = std::make_shared<bool>(false);
    const auto erase = [this, sid = from.sid, position = delivery.position, records = delivery.records, erased] {
      if (!std::exchange(*erased, true)) core_.records->erase_delivery(sid, position, records);
    };
    core_.tickets->begin(erase);
    Placement p;
    p.message = renumbered(delivery.message);
    p.group = delivery.group;
    p.stored = delivery.records != 0;
    if (p.stored && p.message->qos() == proto::QoS::at_least_once) {
      // The session may end before another has it: it is not the session's any more.
      write_record(p, core_.self.slot);
      erase();
    }
    Placement before = p;
    router::SharedGroup* group = core_.tree.find_group(delivery.group->filter, delivery.group->name);
    const bool placed = group != nullptr && place(*group, std::move(p));
    if (!placed) forget_record(before);
    if (!placed && stays) {
      delivery.position = 0;
      delivery.records = 0;
      core_.sessions->by_id(from.id())->keep(std::move(delivery));
    }
    if (!core_.tickets->waits_elsewhere()) erase();  // in the batch that gives it to another
    core_.tickets->end();
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
  const auto answer = [this, token, to = from.id](bool accepted) {
    Peer* peer = core_.peers->find(to);
    if (peer == nullptr) return;
    bus::Writer(core_.scratch).put<uint64_t>(token).put<uint8_t>(accepted);
    core_.peers->send(*peer, bus::FrameType::shared_result, 0, core_.scratch);
  };
  const bool once = message->qos() == proto::QoS::exactly_once;
  if (once && (given_.contains(key_of(message->once(), name, filter)) || has_mark(message->once(), name, filter))) {
    // A member here has it; who asks again, after a death, was not told any more.
    core_.tickets->begin([answer] { answer(true); });
    core_.journal->wait(core_.tickets->wait_here());
    core_.tickets->end();
    return true;
  }
  if (router::SharedGroup* group = core_.tree.find_group(filter, name)) {
    // Offline members take it only when nobody is live anywhere.
    const auto member =
        group->pick_local(strategy_, message->publisher(), !group->live_anywhere(), *core_.env.random, inflight_of_);
    if (member && once && !core_.sessions->by_id(*member)->stored()) {
      answer(true);
      Placement p;
      p.message = message;
      p.group = name_of(*group);
      p.stored = (flags & bus::kAskedAgain) != 0;
      give_when_answered(from, std::move(p), *member);
      return true;
    }
    if (member) {
      core_.tickets->begin([answer] { answer(true); });
      session::Session& session = *core_.sessions->by_id(*member);
      // What is held for a session that is moving here is not stored yet.
      const bool marks = once && (flags & bus::kAskedAgain) != 0 && session.inbound == nullptr;
      if (marks) write_mark(message->once(), name, filter);
      give(session, *group, message);
      core_.tickets->end();
      return true;
    }
    if (!group->members().empty()) refused_to_.emplace(filter, name);
  }
  answer(false);
  return true;
}

bool SharedDispatch::on_result(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const bool accepted = reader.get<uint8_t>() != 0;
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
    ++p.attempts;
    place_or_drop(std::move(p));
  }
  return true;
}

void SharedDispatch::on_peer_gone(const WorkerId& peer) {
  speak_again();
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
    } else if (p.message->qos() == proto::QoS::exactly_once) {
      parked_.push_back({std::move(p), peer.slot});  // it may be stored with a member there
    } else {
      core_.tickets->done(p.ticket);
    }
  }
  offer_again();
}

}  // namespace broker
