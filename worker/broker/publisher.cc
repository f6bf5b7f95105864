#include "worker/broker/publisher.h"

#include <algorithm>
#include <memory>

#include "shared/base/check.h"
#include "shared/bus/publish_frame.h"
#include "worker/broker/departures.h"
#include "worker/broker/journal.h"
#include "worker/broker/missed.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/retained_service.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/takeovers.h"
#include "worker/router/shared_group.h"

namespace broker {

connection::PublishOutcome Publisher::publish(connection::MqttClient& client, const bus::Message::Fields& fields,
                                              uint64_t pending) {
  bus::Message::Fields numbered = fields;
  numbered.uid = core_.next_uid();
  numbered.once = {};
  const bool watched = fields.qos != proto::QoS::at_most_once;
  const router::MatchResult& found = match(fields.topic);
  if (only_passes(numbered, found)) return pass(client, numbered, found, pending);
  const bus::MessageRef message = bus::Message::make(numbered);
  if (!watched) {
    core_.tickets->begin_unwatched();
    if (!route(message, found, &client).matched) core_.page.add(metrics::Counter::publish_no_match);
    return {};
  }
  if (core_.journal->refuses() && needs_store(*message, found)) return refuse(client, pending);
  core_.tickets->begin(ref_of(client), pending);
  const Routed routed = route(message, found, &client);
  const proto::ReasonCode reason = reason_of(routed);
  if (core_.journal->behind()) core_.journal->hold_back(client);
  return {!core_.tickets->end(reason), reason};
}

bool Publisher::only_passes(const bus::Message::Fields& message, const router::MatchResult& found) const {
  if (!found.local.empty() || found.peers.empty() || !found.groups.empty() || message.retain) return false;
  if (message.qos != proto::QoS::at_most_once && !found.durable_peers.empty()) return false;
  return !core_.departures->concerns(found.peers);
}

connection::PublishOutcome Publisher::pass(connection::MqttClient& client, const bus::Message::Fields& message,
                                           const router::MatchResult& found, uint64_t pending) {
  if (message.qos == proto::QoS::at_most_once) {
    core_.tickets->begin_unwatched();
    send_to_peers(message, nullptr, found, &client);
    return {};
  }
  if (core_.journal->behind()) core_.journal->hold_back(client);
  Peer* const only = core_.peers->find(found.peers.only());
  if (only != nullptr) {
    const uint64_t begin = only->link.end();
    core_.tickets->begin_unwatched();
    send_to_peers(message, nullptr, found, &client);
    core_.peers->answer_when_written(*only, begin, ref_of(client), pending);
    return {false};
  }
  core_.tickets->begin(ref_of(client), pending);
  send_to_peers(message, nullptr, found, &client);
  return {!core_.tickets->end()};
}

bool Publisher::needs_store(const bus::Message& message, const router::MatchResult& found) const {
  if (message.retain() && core_.home_of(message.topic()) == core_.self.slot) return true;
  for (const router::LocalSubscription& s : found.local) {
    if (s.options.qos != proto::QoS::at_most_once && core_.sessions->by_id(s.subscriber)->stored()) return true;
  }
  return false;
}

// The store is full, or cannot be written: no acknowledgement can be true. MQTT 3.x has no other way to say that.
connection::PublishOutcome Publisher::refuse(connection::MqttClient& client, uint64_t pending) {
  client.publish_refused(pending);
  core_.page.add(metrics::Counter::publish_refused_store);
  if (client.is_v5()) return {true, proto::ReasonCode::quota_exceeded};
  client.close_later(proto::ReasonCode::quota_exceeded, "the store is full");
  return {false, proto::ReasonCode::success};
}

proto::ReasonCode Publisher::reason_of(const Routed& routed) {
  if (!routed.matched) {
    core_.page.add(metrics::Counter::publish_no_match);
    return proto::ReasonCode::no_matching_subscribers;
  }
  return routed.taken ? proto::ReasonCode::success : proto::ReasonCode::quota_exceeded;
}

// With a new number: numbers grow along every stream, and others have passed it meanwhile.
void Publisher::publish_again(const bus::MessageRef& message, connection::MqttClient* client, TicketId ticket,
                              const AcceptedRecord& record) {
  if (core_.gateway != nullptr) {
    core_.tickets->resume(ticket);
    relay(message);
    core_.tickets->end_resumed();
    return;
  }
  bus::Message::Fields fields = bus::fields_of(*message);
  // A message that was accepted under an identity keeps it.
  if (fields.once == fields.uid) fields.once = {};
  fields.uid = core_.next_uid();
  core_.tickets->resume(ticket);
  const Routed routed = route(bus::Message::make(fields), match(fields.topic), client, record);
  if (record.note_placed && routed.placed && fields.qos == proto::QoS::exactly_once) record.note_placed();
  core_.tickets->end_resumed(reason_of(routed));
}

proto::ReasonCode Publisher::publish_accepted(const bus::MessageRef& message, connection::MqttClient* client,
                                              AcceptedRecord record, Tickets::Answer done) {
  bus::Message::Fields fields = bus::fields_of(*message);
  fields.uid = core_.next_uid();
  const auto early = std::make_shared<bool>(false);
  core_.tickets->begin([early, forget = record.forget, then = std::move(done)](proto::ReasonCode reason) {
    if (!*early) forget();
    if (then) then(reason);
  });
  const Routed routed = route(bus::Message::make(fields), match(fields.topic), client, record);
  if (!core_.tickets->waits_elsewhere()) {
    *early = true;
    record.forget();
  } else if (routed.placed && message->qos() == proto::QoS::exactly_once) {
    record.note_placed();  // in the batch that holds where
  }
  const proto::ReasonCode reason = reason_of(routed);
  core_.tickets->end(reason);
  return reason;
}

void Publisher::publish_unwatched(bus::Message::Fields fields) {
  fields.uid = core_.next_uid();
  fields.once = {};
  core_.tickets->begin_unwatched();
  route(bus::Message::make(fields), match(fields.topic), nullptr);
}

Publisher::Routed Publisher::route(const bus::MessageRef& message, const router::MatchResult& found,
                                   connection::MqttClient* client, const AcceptedRecord& record) {
  Routed routed;
  const bool numbered = (message->once().sequence & kAccepted) != 0;
  // What is known by the order of its numbers, or is to be a topic's last message, does not overtake what is held.
  const bool ordered = numbered || message->retain();
  if (core_.departures->concerns(found.peers) || (ordered && core_.departures->holding())) {
    core_.departures->hold(message, client, record);
    return {true, true};
  }
  if (!found.peers.empty()) {
    routed.matched = true;
    routed.taken = true;
    send_to_peers(bus::fields_of(*message), &message, found, client);
  }
  if (!found.local.empty()) {
    if (core_.journal->knows(message->once(), Stream::messages)) {  // routed again after a death: it is here
      routed.matched = routed.taken = true;
      core_.journal->wait(core_.tickets->wait_here());
    } else {
      deliver_local(message, found, routed);
    }
  }
  for (router::SharedGroup* group : found.groups) {
    if (record.placed || core_.shared->dispatch(*group, message, client)) {
      routed.matched = routed.taken = routed.placed = true;
    }
  }
  if (message->retain()) {
    const bool stored = core_.retained->store(message, client);
    if (!routed.matched && stored) routed.taken = true;
    if (!stored && !routed.taken) routed.matched = true;  // refused: the publisher is told 0x97
  }
  return routed;
}

const router::MatchResult& Publisher::match(std::string_view topic) {
  Cached& cached = cache_[hash_(topic) % kCacheSlots];
  const uint64_t generation = core_.tree.generation() + 1;  // 0 is an unused slot's
  if (cached.generation == generation && cached.topic == topic) return cached.match;
  uncached_.match.clear();
  core_.tree.match(topic, uncached_.match);
  if (uncached_.match.local.size() > kCachedSubscriptions) return uncached_.match;
  cached.topic = topic;
  cached.generation = generation;
  cached.match = uncached_.match;
  return cached.match;
}

// QoS 0 goes only where there is credit; a QoS 1 or 2 publisher that used it up is held back after this message.
void Publisher::send_to_peers(const bus::Message::Fields& fields, const bus::MessageRef* message,
                              const router::MatchResult& found, connection::MqttClient* client) {
  found.peers.for_each([&](uint32_t slot) {
    Peer* peer = core_.peers->find(slot);
    const bool durable = fields.qos != proto::QoS::at_most_once && found.durable_peers.contains(slot);
    CHECK(message != nullptr || !durable);
    if (peer == nullptr) {
      if (durable) core_.outbox->add(slot, store::Purpose::publish, *message, client);
      return;
    }
    const bool credit = core_.peers->has_credit(*peer);
    if (fields.qos == proto::QoS::at_most_once) {
      if (!credit) {
        core_.page.add(metrics::Counter::publish_dropped_bus);
        return;
      }
      bus::append_publish_frame(peer->link, 0, fields, core_.self.incarnation);
    } else {
      if (durable) {
        Peer::Unstored what;
        what.message = *message;
        what.ticket = core_.tickets->wait();
        core_.peers->send_to_store(*peer, bus::FrameType::publish, std::move(what));
      } else {
        bus::append_publish_frame(peer->link, 0, fields, core_.self.incarnation);
        core_.peers->wait_written(*peer, core_.tickets->wait());
      }
      if (!credit && client != nullptr) core_.peers->hold_back(*peer, *client);
    }
    core_.peers->mark_dirty(*peer);
    core_.page.add(metrics::Counter::bus_messages_sent);
  });
}

// Whatever is held back holds back all that comes behind it: it is known by the order of its numbers.
void Publisher::relay(const bus::MessageRef& message) {
  const router::MatchResult& found = match(message->topic());
  if (found.peers.empty()) return;
  if (core_.departures->holding() || core_.departures->concerns(found.peers)) {
    core_.departures->hold(message, nullptr, {});
    return;
  }
  send_to_peers(bus::fields_of(*message), &message, found, nullptr);
}

void Publisher::deliver_from_peer(const bus::Message::Fields& message, bool relayed) {
  core_.page.add(metrics::Counter::bus_messages_received);
  const bool numbered = !relayed || in_stream(message.qos, message.identity());
  if (numbered && known(message, relayed)) {
    if (relayed) deliver_missed(message);
    core_.journal->wait(core_.tickets->wait_here());
    return;
  }
  const router::MatchResult& found = match(message.topic);
  if (deliver_unkept(message, found)) return;
  Routed routed;
  deliver_local(bus::Message::make(message), found, routed, numbered);
}

// By the order of its numbers. What is new is noted.
bool Publisher::known(const bus::Message::Fields& message, bool relayed) {
  uint64_t& seen = core_.seen[message.uid.incarnation];
  if (relayed && message.uid.sequence <= seen) return true;
  seen = message.uid.sequence;
  const bus::Uid& once = message.identity();
  if (once != message.uid && (once.sequence & kAccepted) == 0) {  // sent again by its worker's replacement
    uint64_t& seen_once = core_.seen[once.incarnation];
    // Another host's worker has no word of what sessions here that are not stored have got.
    if (relayed && once.sequence <= seen_once) return true;
    seen_once = std::max(seen_once, once.sequence);
  }
  return core_.journal->knows(once, Stream::messages);
}

// It is a repetition, but not to sessions that have come from a host that had not got it.
void Publisher::deliver_missed(const bus::Message::Fields& message) {
  const router::MatchResult& found = match(message.topic);
  if (found.local.empty()) return;
  merge(bus::Message::make(message), found);
  for (Merged& merged : merged_) {
    session::Session& session = *core_.sessions->by_id(merged.subscriber);
    if (session.inbound) {
      core_.takeovers->hold(session, std::move(merged.delivery));
    } else if (has_missed(session, message.identity())) {
      session.deliver(std::move(merged.delivery));
      note_got(session, message.identity());
      if (session.sid != 0) core_.records->write_head(session);
    }
  }
  merged_.clear();
}

bool Publisher::deliver_unkept(const bus::Message::Fields& message, const router::MatchResult& found) {
  if (message.qos != proto::QoS::at_most_once || message.retain || found.local.size() != 1) return false;
  if (message.payload.size() >= bus::Message::kReferenceAt || (message.identity().sequence & kAccepted) != 0) {
    return false;
  }
  const router::LocalSubscription& s = found.local.front();
  session::Session& session = *core_.sessions->by_id(s.subscriber);
  if (session.inbound || session.skip || session.skip_once) return false;
  if (s.options.no_local && session.client_id() == message.publisher) return true;  // [MQTT-3.8.3-3]
  session.deliver_unkept(message, s.options.identifier);
  return true;
}

void Publisher::merge(const bus::MessageRef& message, const router::MatchResult& found) {
  merged_.clear();
  if (++turn_ == 0) {
    std::fill(stamps_.begin(), stamps_.end(), Stamp{});
    turn_ = 1;
  }
  const bool single = found.local.size() == 1;
  for (const router::LocalSubscription& s : found.local) {
    if (s.options.no_local) {
      const session::Session* session = core_.sessions->by_id(s.subscriber);
      if (session->client_id() == message->publisher()) continue;  // [MQTT-3.8.3-3]
    }
    const proto::QoS qos = std::min(s.options.qos, message->qos());
    const bool retain = s.options.retain_as_published && message->retain();  // [MQTT-3.3.1-12], [MQTT-3.3.1-13]
    if (!single) {
      if (s.subscriber >= stamps_.size()) stamps_.resize(s.subscriber + 1u);
      Stamp& stamp = stamps_[s.subscriber];
      if (stamp.turn == turn_) {
        session::Delivery& first = merged_[stamp.index].delivery;
        first.qos = std::max(first.qos, qos);
        first.retain = first.retain || retain;
        first.ids.add(s.options.identifier);
        continue;
      }
      stamp = {turn_, static_cast<uint32_t>(merged_.size())};
    }
    Merged& merged = merged_.emplace_back();
    merged.subscriber = s.subscriber;
    merged.delivery.message = message;
    merged.delivery.qos = qos;
    merged.delivery.retain = retain;
    merged.delivery.ids.add(s.options.identifier);
  }
}

void Publisher::deliver_local(const bus::MessageRef& message, const router::MatchResult& found, Routed& routed,
                              bool numbered) {
  merge(message, found);
  const uint64_t changes = core_.journal->changes();
  for (Merged& merged : merged_) {
    // A long list is work, not a hang: the master must see that.
    if (++since_heartbeat_ >= kHeartbeatEvery) {
      since_heartbeat_ = 0;
      core_.page.set(metrics::Gauge::heartbeat_ms, core_.now());
    }
    session::Session& session = *core_.sessions->by_id(merged.subscriber);
    routed.matched = true;
    if (session.inbound) {
      core_.takeovers->hold(session, std::move(merged.delivery));
      routed.taken = true;
      continue;
    }
    if (session.missed) note_new(session, message->once());
    if (numbered && session.skip && Takeovers::skips(session, *message)) {
      routed.taken = true;
      continue;
    }
    if (Takeovers::skips_once(session, *message)) {
      routed.taken = true;
      continue;
    }
    const session::Session::Result result = session.deliver(std::move(merged.delivery));
    if (result != session::Session::Result::dropped_full) routed.taken = true;
    if (message->retain() && result == session::Session::Result::accepted) {
      core_.retained->note_live(session, message->topic());
    }
  }
  merged_.clear();
  if (core_.journal->changes() == changes) {
    core_.journal->note_passing(*message, Stream::messages);
    return;
  }
  core_.journal->note(*message, Stream::messages);
  core_.journal->wait(core_.tickets->wait_here());
}

}  // namespace broker
