#include "worker/broker/retained_home.h"

#include <algorithm>
#include <string>
#include <utility>

#include "shared/bus/message_codec.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"

namespace broker {
namespace {

constexpr size_t kMaxOffers = 64;
constexpr size_t kMaxOfferBytes = 256 * 1024;
constexpr size_t kSweep = 256;
constexpr base::MonoMs kPatienceMs = 3000;
constexpr base::MonoMs kRefusedLogMs = 60'000;  // between two lines about it
constexpr int kWarning = 2;
constexpr uint8_t kRoundEnds = 1;
constexpr uint8_t kRoundBeginsTold = 2;  // what the snapshot does not have, nor as deleted, Redis has lost

bool same(const bus::Message& a, const bus::Message& b) {
  return a.payload() == b.payload() && a.properties() == b.properties() && a.qos() == b.qos();
}

bus::MessageRef tombstone(const bus::Message& message, base::MonoMs until) {
  bus::Message::Fields f;
  f.uid = f.once = message.once();
  f.retain = true;
  f.expires_at = until;
  f.topic = message.topic();
  return bus::Message::make(f);
}

}  // namespace

// --- from the store ---

void RetainedHome::restore(const store::RetainedRecord& record) {
  // From before there were versions: older than everything that has one.
  const uint64_t version = std::max<uint64_t>(record.version, 1);
  const bool unconfirmed = record.unconfirmed || record.version == 0;
  last_version_ = std::max(last_version_, version);
  messages_.put(record.message, {version, 0, unconfirmed});
  if (record.message->payload().empty()) tombstones_.emplace_back(record.message->topic());
  track(record.message->topic(), unconfirmed);
  refresh_gauges();
}

// --- changes of this host ---

void RetainedHome::set_own(const bus::MessageRef& message) {
  const size_t before = messages_.count();
  messages_.set(message);
  own_topics_ = own_topics_ + messages_.count() - before;
  refresh_gauges();
}

// What is known and not here was refused before, its publisher not told. (Or removed since: who cannot tell does not
// say that it is here.)
bool RetainedHome::over_limit(const bus::Message& message, bool known) const {
  if (core_.mqtt.max_retained == 0 || message.payload().empty()) return false;
  const uint64_t share = std::max<uint64_t>(1, core_.mqtt.max_retained / core_.homes);
  const bool full = messages_.count() >= share + own_topics_;
  return (known || full) && messages_.find(message.topic()) == nullptr;
}

void RetainedHome::note_refused() {
  core_.page.add(metrics::Counter::retained_refused);
  if (!core_.env.log || core_.env.log_level > kWarning || core_.now() < log_refused_at_) return;
  log_refused_at_ = core_.now() + kRefusedLogMs;
  core_.env.log(kWarning, "message not retained: mqtt.max_retained", {{"retained", std::to_string(messages_.count())}});
}

uint64_t RetainedHome::next_version() {
  return last_version_ = std::max(last_version_ + 1, core_.env.clock->wall_us());
}

bool RetainedHome::store(const bus::MessageRef& message, connection::MqttClient* client) {
  const bool known = core_.journal->knows(message->once(), Stream::retained);
  if (over_limit(*message, known)) {
    note_refused();
    return false;
  }
  if (known) {
    core_.journal->wait(core_.tickets->wait_here());
    return true;
  }
  if (!core_.config.clustered() || (away() && waiting_.empty())) {
    put(message, next_version(), true);
    core_.journal->note(*message, Stream::retained);
    core_.journal->wait(core_.tickets->wait_here());
    return true;
  }
  const bool full = waiting_bytes_ >= core_.env.link_credit;
  if (full && message->qos() == proto::QoS::at_most_once) {
    core_.page.add(metrics::Counter::publish_dropped_bus);
    return true;
  }
  waiting_.push_back({message, core_.tickets->wait()});
  waiting_bytes_ += message->footprint();
  if (full && client != nullptr) {
    held_back_.push_back(ref_of(*client));
    client->pause();
  }
  send_waiting();
  return true;
}

void RetainedHome::send_waiting() {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (redis_ == Redis::up && gateway != nullptr) {
    for (; sent_ < waiting_.size(); ++sent_) {
      const uint64_t at_least = std::max(last_version_, core_.env.clock->wall_us());
      bus::Writer(core_.scratch).put<uint64_t>(at_least);
      bus::append_message_frame(gateway->link, bus::FrameType::retain_order, 0, core_.scratch,
                                *waiting_[sent_].message);
      waiting_[sent_].sent = true;
      core_.peers->mark_dirty(*gateway);
    }
    return;
  }
  if (!away()) return;
  while (sent_ == 0 && !waiting_.empty()) finish_first(0);
  resume_clients();
}

bool RetainedHome::on_state(std::string_view body) {
  bus::Reader reader(body);
  const bool up = reader.get<uint8_t>() != 0;
  const auto floor = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  redis_ = up ? Redis::up : Redis::away;
  lonely_ = false;
  // What Redis may have done without our being told has versions below.
  last_version_ = std::max(last_version_, floor);
  offering_ = up && !unconfirmed_.empty();
  offer_again_ = false;
  offered_to_.clear();
  send_waiting();
  return true;
}

void RetainedHome::on_gateway_gone() {
  redis_ = Redis::unknown;
  unknown_since_ = core_.now();
  sent_ = 0;
  offers_.clear();
  offers_bytes_ = 0;
  offering_ = false;
  ending_.reset();
  taken_ = told_taken_ = round_done_ = told_round_ = 0;
}

bool RetainedHome::on_ordered(std::string_view body) {
  for (bus::Reader reader(body); !reader.at_end();) {
    const auto version = reader.get<uint64_t>();
    if (!reader.ok() || sent_ == 0) return false;
    --sent_;
    finish_first(version);
  }
  send_waiting();
  resume_clients();
  return true;
}

// `version` 0: Redis has not decided.
void RetainedHome::finish_first(uint64_t version) {
  const Waiting first = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= first.message->footprint();
  order(first.message, version);
  if (version == 0 && first.sent) {
    const bool deleted = first.message->payload().empty();
    lost_[std::string(first.message->topic())].push_back(deleted ? bus::Uid() : first.message->once());
  }
  core_.journal->note(*first.message, Stream::retained);
  core_.journal->wait(first.ticket);
  if (waiting_.empty()) decided_here_.clear();
}

// What has as high a version and is unconfirmed, or was while this one waited, has been put here in front of it, when
// Redis did not answer: this one comes behind it.
void RetainedHome::order(const bus::MessageRef& message, uint64_t version) {
  const Entry entry = messages_.entry(message->topic());
  const auto before = decided_here_.find(message->topic());
  const bool overtaken = (entry.message && entry.stamp.unconfirmed && entry.stamp.version >= version) ||
                         (before != decided_here_.end() && before->second >= version);
  if (version == 0 || overtaken) {
    put(message, next_version(), true);
    decided_here_.insert_or_assign(std::string(message->topic()), last_version_);
  } else if (version > entry.stamp.version) {
    put(message, version, false);
  }
}

void RetainedHome::resume_clients() {
  if (held_back_.empty() || waiting_bytes_ >= core_.env.link_credit) return;
  for (const ClientRef ref : std::exchange(held_back_, {})) {
    if (connection::MqttClient* client = core_.clients->find(ref)) client->resume();
  }
}

// --- what is here ---

void RetainedHome::put(const bus::MessageRef& message, uint64_t version, bool unconfirmed) {
  last_version_ = std::max(last_version_, version);
  const std::string_view topic = message->topic();
  if (!message->payload().empty()) {
    messages_.put(message, {version, round_, unconfirmed});
    write(message, version, unconfirmed);
    return;
  }
  // A host of its own remembers the deletion only of what others may still have.
  const Entry before = messages_.entry(topic);
  if (!core_.config.clustered() && (!before.message || before.stamp.unconfirmed)) return forget(topic);
  const bus::MessageRef kept = tombstone(*message, core_.now() + kTombstoneMs);
  messages_.put(kept, {version, round_, unconfirmed});
  write(kept, version, unconfirmed);
  remember_tombstone(topic);
}

void RetainedHome::restamp(const Entry& entry, bool unconfirmed) {
  messages_.restamp(entry.message->topic(), {entry.stamp.version, round_, unconfirmed});
  if (unconfirmed != entry.stamp.unconfirmed) write(entry.message, entry.stamp.version, unconfirmed);
}

void RetainedHome::write(const bus::MessageRef& message, uint64_t version, bool unconfirmed) {
  std::string key;
  std::string value;
  store::retained_key(key, message->topic());
  store::encode(value, {version, unconfirmed, message}, core_.journal->now());
  core_.journal->put(key, value);
  track(message->topic(), unconfirmed);
  gauges_due_ = true;
}

void RetainedHome::track(std::string_view topic, bool unconfirmed) {
  if (!core_.config.clustered()) return;
  if (!unconfirmed) {
    if (const auto it = unconfirmed_.find(topic); it != unconfirmed_.end()) unconfirmed_.erase(it);
    if (const auto it = lost_.find(topic); it != lost_.end()) lost_.erase(it);
    return;
  }
  unconfirmed_.emplace(topic);
  if (offering_) {
    offer_again_ = true;
  } else if (redis_ == Redis::up) {
    offering_ = true;
    offered_to_.clear();
  }
}

void RetainedHome::remember_tombstone(std::string_view topic) {
  tombstones_.emplace_back(topic);
  if (tombstones_.size() <= kMaxTombstones) return;
  const std::string oldest = std::move(tombstones_.front());
  tombstones_.pop_front();
  const Entry entry = messages_.entry(oldest);
  if (entry.message && entry.message->payload().empty()) forget(oldest);
}

void RetainedHome::forget(std::string_view topic) {
  if (!messages_.entry(topic).message) return;
  std::string key;
  store::retained_key(key, topic);
  core_.journal->erase(key);
  track(topic, false);
  messages_.erase(topic);
  gauges_due_ = true;
}

void RetainedHome::sweep() {
  slice_.clear();
  messages_.find_expired(core_.now(), kSweep, slice_);
  for (const Entry& entry : slice_) {
    const std::string topic(entry.message->topic());
    const bool deleted = entry.message->payload().empty();
    if (is_own(topic)) {
      messages_.erase(topic);
      --own_topics_;
    } else if (!core_.config.clustered() || (deleted && !entry.stamp.unconfirmed)) {
      forget(topic);
    } else if (!deleted) {
      put(tombstone(*entry.message, 0), entry.stamp.version + 1, true);
    }
  }
  if (core_.config.clustered() && redis_ == Redis::unknown && core_.now() >= unknown_since_ + kPatienceMs) {
    lonely_ = true;
    send_waiting();
  }
  if (redis_ == Redis::up && !offering_ && offers_.empty() && !unconfirmed_.empty()) {
    offering_ = true;
    offered_to_.clear();
  }
  refresh_gauges();
}

// --- what the others have ---

bool RetainedHome::on_change(std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto version = reader.get<uint64_t>();
  const bool of_snapshot = reader.get<uint8_t>() != 0;
  const bus::MessageRef message = bus::read_message(reader, attachment);
  if (!message || message->topic().empty() || is_own(message->topic())) return false;
  ++taken_;
  apply(message, version, of_snapshot);
  return true;
}

bool RetainedHome::is_lost(const bus::Message& message) const {
  const auto it = lost_.find(message.topic());
  const bus::Uid identity = message.payload().empty() ? bus::Uid() : message.once();
  return it != lost_.end() && std::find(it->second.begin(), it->second.end(), identity) != it->second.end();
}

// Of two hosts' changes with one version, given without Redis, the one that Redis has counts. What is here behind a
// change of ours whose answer was lost stays behind it.
void RetainedHome::apply(const bus::MessageRef& message, uint64_t version, bool of_snapshot) {
  const Entry entry = messages_.entry(message->topic());
  if (entry.message && entry.stamp.unconfirmed && is_lost(*message) && !same(*entry.message, *message)) {
    last_version_ = std::max(last_version_, version);
    if (version >= entry.stamp.version) put(entry.message, next_version(), true);
    return;
  }
  if (!entry.message || version > entry.stamp.version) return put(message, version, false);
  if (version == entry.stamp.version && (entry.stamp.unconfirmed || !same(*entry.message, *message))) {
    return put(message, version, false);
  }
  const bool older = version < entry.stamp.version;
  if (older && !of_snapshot) return;  // it says nothing of what Redis has now
  restamp(entry, entry.stamp.unconfirmed || (older && (round_told_ || round_cluster_ != cluster_)));
}

bool RetainedHome::on_round(std::string_view body) {
  bus::Reader reader(body);
  const auto phase = reader.get<uint8_t>();
  const auto number = reader.get<uint64_t>();
  const auto cluster = reader.get<uint64_t>();
  if (!reader.at_end() || phase > kRoundBeginsTold) return false;
  if (phase == kRoundEnds) {
    ending_ = std::make_unique<router::Retained::Cursor>("#", true);
    ending_round_ = number;
  } else {
    ++round_;
    round_cluster_ = cluster;
    round_told_ = phase == kRoundBeginsTold;
    ending_.reset();
  }
  return true;
}

bool RetainedHome::run_round() {
  if (core_.journal->behind()) return false;
  slice_.clear();
  messages_.scan(*ending_, slice_);
  for (const Entry& entry : slice_) {
    if (entry.stamp.unconfirmed || entry.stamp.round == round_ || is_own(entry.message->topic())) continue;
    if (round_cluster_ == cluster_ && !round_told_) {
      forget(entry.message->topic());
    } else {
      restamp(entry, true);
    }
  }
  if (!ending_->done()) return true;
  ending_.reset();
  round_done_ = ending_round_;
  if (cluster_ == round_cluster_) return false;
  cluster_ = round_cluster_;
  std::string key;
  std::string value;
  store::meta_key(key, "cluster");
  store::encode_number(value, cluster_);
  core_.journal->put(key, value);
  return false;
}

// --- offers ---

bool RetainedHome::run_offers() {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (!offering_ || redis_ != Redis::up || gateway == nullptr) return false;
  while (offers_.size() < kMaxOffers && offers_bytes_ < kMaxOfferBytes) {
    const auto next = unconfirmed_.upper_bound(offered_to_);
    if (next == unconfirmed_.end()) {
      offering_ = std::exchange(offer_again_, false);
      offered_to_.clear();
      return offering_;
    }
    offered_to_ = *next;
    const Entry entry = messages_.entry(*next);
    const auto is_same = [&](const Offer& o) { return o.version == entry.stamp.version && o.topic == *next; };
    if (std::any_of(offers_.begin(), offers_.end(), is_same)) continue;
    bus::Writer(core_.scratch).put<uint64_t>(entry.stamp.version);
    bus::append_message_frame(gateway->link, bus::FrameType::retain_offer, 0, core_.scratch, *entry.message);
    core_.peers->mark_dirty(*gateway);
    offers_.push_back({*next, entry.stamp.version, entry.message->footprint()});
    offers_bytes_ += entry.message->footprint();
  }
  return false;
}

// If there is a newer one it comes, or has come, as a change. An offer that failed is repeated by sweep().
bool RetainedHome::on_offered(std::string_view body) {
  bus::Reader reader(body);
  const auto there = reader.get<uint64_t>();
  if (!reader.at_end() || offers_.empty()) return false;
  const Offer offer = std::move(offers_.front());
  offers_.pop_front();
  offers_bytes_ -= offer.bytes;
  last_version_ = std::max(last_version_, there);
  const Entry entry = messages_.entry(offer.topic);
  if (there == offer.version && entry.message && entry.stamp.version == there) restamp(entry, false);
  return true;
}

// --- the turn ---

bool RetainedHome::run_slice() {
  bool more = ending_ != nullptr && run_round();
  if (core_.config.clustered()) {
    more = run_offers() || more;
    report();
  }
  if (std::exchange(gauges_due_, false)) refresh_gauges();
  return more;
}

// Tells the gateway what is stored.
void RetainedHome::report() {
  if (taken_ == told_taken_ && round_done_ == told_round_) return;
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (gateway == nullptr) return;
  told_taken_ = taken_;
  told_round_ = round_done_;
  core_.journal->then([this, id = gateway->id, taken = taken_, round = round_done_] {
    Peer* to = core_.peers->find(id);
    if (to == nullptr) return;
    bus::Writer(core_.scratch).put<uint64_t>(taken).put<uint64_t>(round);
    core_.peers->send(*to, bus::FrameType::retain_stored, 0, core_.scratch);
  });
}

void RetainedHome::refresh_gauges() {
  core_.page.set(metrics::Gauge::retained_messages, messages_.count());
  core_.page.set(metrics::Gauge::retained_bytes, messages_.bytes());
  core_.page.set(metrics::Gauge::retained_tombstones, messages_.tombstones());
  core_.page.set(metrics::Gauge::retained_unconfirmed, unconfirmed_.size());
}

}  // namespace broker
