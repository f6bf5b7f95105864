#include "worker/broker/records.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "worker/broker/accepted.h"
#include "worker/broker/claims.h"
#include "worker/broker/host_life.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/outbox.h"
#include "worker/broker/retained_service.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/strays.h"
#include "worker/session/takeover_state.h"

namespace broker {
namespace {

using session::Inflight;

// store::Mark::kind of Session::missed; 0 and 1 are came_with and skip_once.
constexpr uint8_t kMissed = 2;
constexpr uint8_t kMissedAccepted = 3;
constexpr uint64_t kHeartbeatEvery = 4096;  // records: a long load is work, not a hang

store::SubscriptionRecord record_of(const router::SubscriptionOptions& o) {
  return {o.qos, o.no_local, o.retain_as_published, o.retain_handling, o.identifier};
}

router::SubscriptionOptions options_of(const store::SubscriptionRecord& r) {
  router::SubscriptionOptions o;
  o.qos = r.qos;
  o.no_local = r.no_local;
  o.retain_as_published = r.retain_as_published;
  o.retain_handling = r.retain_handling;
  o.identifier = r.identifier;
  return o;
}

store::WillRecord record_of(const session::Will& w) {
  return {w.topic, w.payload, w.properties, w.qos, w.retain, w.delay, w.message_expiry};
}

std::unique_ptr<session::Will> will_of(store::WillRecord& r) {
  auto will = std::make_unique<session::Will>();
  will->topic = std::move(r.topic);
  will->payload = std::move(r.payload);
  will->properties = std::move(r.properties);
  will->qos = r.qos;
  will->retain = r.retain;
  will->delay = r.delay;
  will->message_expiry = r.message_expiry;
  return will;
}

store::ProgressRecord progress_of(const Inflight::Entry& entry) {
  return {entry.state == Inflight::State::pubrel ? store::Progress::released : store::Progress::sent, entry.packet_id};
}

[[noreturn]] void unreadable(std::string_view key) {
  std::string text;
  char hex[4];
  for (const char c : key.substr(0, 24)) {
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += hex;
  }
  throw std::runtime_error("the store has a record that cannot be read, key " + text);
}

}  // namespace

// --- heads and subscriptions ---

void Records::write_head(session::Session& session) {
  if (!session.durable() && !session.will) return;
  if (session.sid == 0) session.sid = next_sid_++;
  store::SessionRecord record;
  record.client_id = session.client_id();
  record.epoch = session.epoch;
  record.expiry_interval = session.expiry_interval;
  record.disconnected_at = session.disconnected_at;
  record.next_packet_id = session.inflight().next_id();
  if (session.will) record.will = record_of(*session.will);
  if (session.came_with) {
    for (const auto& [origin, sequence] : *session.came_with) record.marks.push_back({0, origin, 0, sequence});
  }
  if (session.skip_once) {
    for (const auto& [origin, sequence] : *session.skip_once) record.marks.push_back({0, origin, 1, sequence});
  }
  if (session.missed) {
    for (const auto& [stream, sequence] : *session.missed) {
      record.marks.push_back({0, stream.origin, stream.accepted ? kMissedAccepted : kMissed, sequence});
    }
  }
  if (session.uncopied_us != 0) {
    record.uncopied_us = session.uncopied_us;
    record.uncopied_from = session.copied_to;
  }
  store::session_key(key_, session.sid);
  store::encode(value_, record);
  core_.journal->put(key_, value_);
  if (record.disconnected_at == 0) write_alive();
}

void Records::write_all(session::Session& session) {
  write_head(session);
  if (!session.stored()) return;
  for (const session::OwnSubscription& own : session.subscriptions.all()) {
    write_subscription(session, core_.tree.filter_of(own.node), own.options);
  }
  for (const session::OwnShare& share : session.subscriptions.shares()) write_share(session, share);
  for (const uint16_t id : session.incoming_qos2) incoming(session, id, true);
  session.inflight().for_each([&](Inflight::Entry& entry) { in_flight(session, entry); });
  for (size_t i = 0; i < session.queue().size(); ++i) queued(session, session.queue()[i]);
}

void Records::write_subscription(const session::Session& session, std::string_view filter,
                                 const router::SubscriptionOptions& options) {
  if (!session.stored()) return;
  store::subscription_key(key_, session.sid, filter);
  store::encode(value_, record_of(options));
  core_.journal->put(key_, value_);
}

void Records::write_share(const session::Session& session, const session::OwnShare& share) {
  if (!session.stored()) return;
  store::share_key(key_, session.sid, share.group, share.filter);
  store::encode(value_, record_of(share.options));
  core_.journal->put(key_, value_);
}

void Records::erase_subscription(const session::Session& session, std::string_view filter) {
  if (!session.stored()) return;
  store::subscription_key(key_, session.sid, filter);
  core_.journal->erase(key_);
}

void Records::erase_share(const session::Session& session, std::string_view group, std::string_view filter) {
  if (!session.stored()) return;
  store::share_key(key_, session.sid, group, filter);
  core_.journal->erase(key_);
}

void Records::erase_all(session::Session& session) {
  if (session.sid == 0) return;
  store::session_key(key_, session.sid);
  core_.journal->erase(key_);
  const auto erase_delivery = [&](session::Delivery& delivery) {
    if (delivery.records != 0) removed(session, delivery);
    delivery.records = 0;
  };
  session.inflight().for_each([&](Inflight::Entry& entry) { erase_delivery(entry.delivery); });
  for (size_t i = 0; i < session.queue().size(); ++i) erase_delivery(session.queue()[i]);
  erase_subscriptions(session);
  for (const uint16_t id : session.incoming_qos2) incoming(session, id, false);
  session.sid = 0;
}

void Records::erase_subscriptions(const session::Session& session) {
  if (session.sid == 0) return;
  for (const session::OwnSubscription& own : session.subscriptions.all()) {
    store::subscription_key(key_, session.sid, core_.tree.filter_of(own.node));
    core_.journal->erase(key_);
  }
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    store::share_key(key_, session.sid, share.group, share.filter);
    core_.journal->erase(key_);
  }
  if (session.outbound) {
    for (const session::OwnShare& share : session.outbound->left) {
      store::share_key(key_, session.sid, share.group, share.filter);
      core_.journal->erase(key_);
    }
  }
}

// --- messages ---

void Records::queued(session::Session& session, session::Delivery& delivery) {
  place(session, delivery);
  write_delivery(session, delivery, {});
}

void Records::place(session::Session& session, session::Delivery& delivery) {
  if (delivery.position != 0) return;
  delivery.position = session.next_position++;
  if (core_.config.clustered()) core_.strays->on_placed(session, delivery);
}

void Records::write_delivery(const session::Session& session, session::Delivery& d,
                             const store::ProgressRecord& progress) {
  const std::string_view none;
  store::delivery_key(key_, session.sid, d.position);
  store::encode_delivery(value_, progress, d.qos, d.retain, d.ids.data(), d.ids.size(), d.group != nullptr,
                         d.group ? std::string_view(d.group->name) : none,
                         d.group ? std::string_view(d.group->filter) : none, *d.message, core_.journal->now());
  core_.journal->put(key_, value_);
  d.records = kDelivery;
}

// A message that was queued before has its record; only how far it has come is added. Past PUBREC nothing else is left.
void Records::in_flight(session::Session& session, Inflight::Entry& entry) {
  session::Delivery& d = entry.delivery;
  place(session, d);
  const store::ProgressRecord progress = progress_of(entry);
  if (d.records == 0 && progress.progress == store::Progress::sent) {
    write_delivery(session, d, progress);
    return;
  }
  store::progress_key(key_, session.sid, d.position);
  store::encode(value_, progress);
  core_.journal->put(key_, value_);
  d.records |= kProgress;
  if (progress.progress != store::Progress::released || (d.records & kDelivery) == 0) return;
  store::delivery_key(key_, session.sid, d.position);
  core_.journal->erase(key_);
  d.records = kProgress;
}

void Records::removed(const session::Session& session, const session::Delivery& delivery) {
  erase_delivery(session.sid, delivery.position, delivery.records);
}

void Records::erase_delivery(uint64_t sid, uint64_t position, uint8_t records) {
  if ((records & kDelivery) != 0) {
    store::delivery_key(key_, sid, position);
    core_.journal->erase(key_);
  }
  if ((records & kProgress) != 0) {
    store::progress_key(key_, sid, position);
    core_.journal->erase(key_);
  }
}

void Records::incoming(const session::Session& session, uint16_t packet_id, bool known) {
  store::incoming_key(key_, session.sid, packet_id);
  if (known) {
    store::encode_number(value_, 0);
    core_.journal->put(key_, value_);
  } else {
    core_.journal->erase(key_);
  }
}

void Records::wait_to_send(const session::Session& session) {
  core_.journal->wait_to_send(session);
}

uint64_t Records::batch() const {
  return core_.journal->batch();
}

// Asked once in kAliveEveryMs, and by sessions in between: what is left out was half of that ago.
void Records::write_alive() {
  if (alive_written_ != 0 && core_.now() < alive_written_ + kAliveEveryMs / 2) return;
  alive_written_ = core_.now();
  store::meta_key(key_, "alive");
  store::encode_number(value_, core_.journal->now().wall);
  core_.journal->put(key_, value_);
}

// --- start ---

void Records::load() {
  loaded_at_ = core_.journal->now();
  core_.env.store->load([this](std::string_view key, std::string_view value) { load_record(key, value); });
  std::vector<uint64_t> sids;
  for (const auto& [sid, loading] : loading_) sids.push_back(sid);
  std::sort(sids.begin(), sids.end());
  for (const uint64_t sid : sids) load_session(sid, loading_.at(sid));
  loading_.clear();
  core_.life->on_loaded();
  core_.interest->on_loaded();
}

void Records::load_record(std::string_view text, std::string_view value) {
  if (++loaded_ % kHeartbeatEvery == 0) core_.page.set(metrics::Gauge::heartbeat_ms, core_.now());
  const std::optional<store::Key> key = store::parse_key(text);
  if (!key) unreadable(text);
  bool ok = true;
  switch (key->kind) {
    case store::Kind::meta:
      ok = core_.claims->restore(key->text, value);
      if (key->text == "life") ok = core_.life->restore(value);
      core_.interest->restore(key->text);
      if (uint64_t* number = core_.life->copied_to(key->text)) ok = store::decode_number(value, *number);
      if (key->text == "alive") ok = store::decode_number(value, alive_);
      if (key->text == "cluster") {
        uint64_t id = 0;
        ok = store::decode_number(value, id);
        core_.retained->home().restore_cluster(id);
      }
      break;
    case store::Kind::session: {
      Loading& loading = loading_[key->sid];
      ok = loading.has_head = store::decode(value, loading.head);
      break;
    }
    case store::Kind::subscription: {
      auto& subscription = loading_[key->sid].subscriptions.emplace_back();
      subscription.shared = key->shared;
      subscription.group = key->group;
      subscription.filter = key->text;
      ok = store::decode(value, subscription.options);
      break;
    }
    case store::Kind::delivery: {
      auto& [position, record] = loading_[key->sid].deliveries.emplace_back();
      position = key->number;
      ok = store::decode(value, record, loaded_at_);
      break;
    }
    case store::Kind::progress:
      ok = store::decode(value, loading_[key->sid].progress[key->number]);
      break;
    case store::Kind::incoming:
      loading_[key->sid].incoming.push_back(static_cast<uint16_t>(key->number));
      break;
    case store::Kind::accepted:
    case store::Kind::outbox: {
      store::PendingRecord record;
      ok = store::decode(value, record, loaded_at_);
      if (!ok) break;
      if (key->kind == store::Kind::accepted) {
        core_.accepted->restore(key->number, record);
      } else {
        core_.outbox->reserve(key->number + 1);
        if (store::is_shared(record.purpose)) {
          core_.shared->restore(key->slot, key->number, record);
        } else {
          core_.outbox->restore(key->slot, key->number, record.purpose, record.message);
        }
      }
      break;
    }
    case store::Kind::retained: {
      store::RetainedRecord record;
      ok = store::decode(value, record, loaded_at_);
      if (ok) core_.retained->home().restore(record);
      break;
    }
    case store::Kind::seen: {
      uint64_t sequence = 0;
      ok = store::decode_number(value, sequence);
      if (ok && key->seen == kGivenMark) {
        core_.shared->restore_mark(key->incarnation, sequence);
      } else {
        core_.journal->restore_seen(*key, sequence);
      }
      break;
    }
  }
  if (!ok) unreadable(text);
}

void Records::load_session(uint64_t sid, Loading& loading) {
  next_sid_ = std::max(next_sid_, sid + 1);
  if (!loading.has_head) return;  // `store check` reports it
  session::Session& session = core_.sessions->create(loading.head.client_id);
  session.epoch = loading.head.epoch;
  session.expiry_interval = loading.head.expiry_interval;
  session.disconnected_at = loading.head.disconnected_at;
  session.inflight().set_next_id(loading.head.next_packet_id);
  for (const store::Mark& mark : loading.head.marks) {
    if (mark.kind == kMissed || mark.kind == kMissedAccepted) {
      if (!session.missed) session.missed = std::make_unique<std::map<session::Stream, uint64_t>>();
      (*session.missed)[{mark.incarnation, mark.kind == kMissedAccepted}] = mark.sequence;
      continue;
    }
    auto& marks = mark.kind == 1 ? session.skip_once : session.came_with;
    if (!marks) marks = std::make_unique<std::map<uint64_t, uint64_t>>();
    (*marks)[mark.incarnation] = mark.sequence;
  }
  // Our predecessor may not have confirmed what came with the session; then it is sent again.
  if (session.came_with) session.skip = std::make_unique<std::map<uint64_t, uint64_t>>(*session.came_with);
  if (loading.head.will) session.will = will_of(*loading.head.will);
  session.incoming_qos2 = std::move(loading.incoming);
  std::sort(session.incoming_qos2.begin(), session.incoming_qos2.end());
  for (const Loading::Subscription& s : loading.subscriptions) {
    if (s.shared) {
      core_.interest->subscribe_shared(session, s.group, s.filter, options_of(s.options));
    } else {
      core_.interest->subscribe(session, s.filter, options_of(s.options));
    }
  }
  session.sid = sid;
  // Past PUBREC there is no delivery record any more; in the order of positions all the same.
  std::map<uint64_t, store::DeliveryRecord*> records;
  for (auto& [position, record] : loading.deliveries) records[position] = &record;
  for (const auto& [position, progress] : loading.progress) records.try_emplace(position, nullptr);
  for (const auto& [position, record] : records) {
    session.next_position = position + 1;
    session::Delivery delivery;
    delivery.position = position;
    store::ProgressRecord progress;
    if (record != nullptr) {
      progress = record->progress;
      delivery.records = kDelivery;
      delivery.message = record->message;
      delivery.qos = record->qos;
      delivery.retain = record->retain;
      for (const uint32_t id : record->ids) delivery.ids.add(id);
      if (record->shared) {
        delivery.group = std::make_shared<session::GroupName>(
            session::GroupName{std::move(record->filter), std::move(record->group)});
        if (record->qos == proto::QoS::exactly_once) core_.shared->restore(record->message->once(), *delivery.group);
      }
    } else {
      delivery.qos = proto::QoS::exactly_once;
    }
    if (const auto it = loading.progress.find(position); it != loading.progress.end()) {
      progress = it->second;
      delivery.records |= kProgress;
    }
    if (progress.progress == store::Progress::queued) {
      session.restore(std::move(delivery));
      continue;
    }
    Inflight::Entry entry;
    entry.packet_id = progress.packet_id;
    entry.tried = true;
    entry.state = progress.progress == store::Progress::released ? Inflight::State::pubrel : Inflight::State::publish;
    entry.delivery = std::move(delivery);
    session.inflight().restore(std::move(entry));
    core_.page.add(metrics::Gauge::inflight_messages, 1);
  }
  if (core_.config.clustered()) core_.strays->restore(session, loading.head.uncopied_us, loading.head.uncopied_from);
  session.unconfirmed = core_.claims->doubt();
  core_.claims->restore(session);
  core_.life->on_restored(session, loaded_at_.wall, alive_ != 0 ? alive_ : loaded_at_.wall);
}

}  // namespace broker
