#include "shared/store/rebuild.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>

#include "proto/topic.h"
#include "shared/base/home.h"
#include "shared/base/replace_file.h"
#include "shared/base/unique_fd.h"
#include "shared/store/record_check.h"
#include "shared/store/stores.h"

namespace store {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchBytes = 1024 * 1024;
// Times stay as they are stored.
constexpr Now kAsStored{0, 0};

// Kinds of K records and of marks, and how a message says which it belongs to: worker/broker/journal.h, records.cc.
constexpr uint8_t kRetainedStream = 1;
constexpr uint8_t kAcceptedStream = 2;
constexpr uint8_t kAcceptedMark = 1;
constexpr uint64_t kAcceptedBit = uint64_t{1} << 63;

std::string prefix(Kind kind) {
  return {static_cast<char>(kind)};
}

void sync_directory(const std::string& path) {
  const base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) throw Error(path, std::strerror(errno), "to sync it");
}

void check(const RocksDb::Outcome& outcome, const std::string& path) {
  if (!outcome.ok()) throw Error(path, outcome.error, "to write to it");
}

[[noreturn]] void malformed(std::string_view key) {
  throw Error(describe_key(key), "a malformed record", "what mqtt-master writes; see mqtt-master store check");
}

bool newer(const RetainedRecord& a, const RetainedRecord& b) {
  const auto order = [](const RetainedRecord& r) {
    return std::tuple(r.version, r.message->once().incarnation, r.message->once().sequence);
  };
  return order(a) > order(b);
}

std::optional<RetainedRecord> retained_in(StoreWriter& store, std::string_view key) {
  const std::optional<std::string> value = store.get(key);
  RetainedRecord record;
  if (!value || !decode(*value, record, kAsStored)) return std::nullopt;
  return record;
}

}  // namespace

std::string slot_in(const std::string& stores, uint32_t slot) {
  return stores + "/slot-" + std::to_string(slot);
}

std::optional<uint32_t> noted_slots(const std::string& stores) {
  uint32_t slots = 0;
  std::ifstream file(stores + "/slots");
  if (!(file >> slots)) return std::nullopt;
  return slots;
}

void note_slots(const std::string& stores, uint32_t slots) {
  if (mkdir(stores.c_str(), 0700) != 0 && errno != EEXIST) throw Error(stores, std::strerror(errno), "to make it");
  const std::string path = stores + "/slots";
  if (!base::replace_file(path, std::to_string(slots) + '\n', 0600, base::Sync::data)) {
    throw Error(path, std::strerror(errno), "to write it");
  }
  sync_directory(stores);
}

void replace_stores(const std::string& fresh, const std::string& stores) {
  const unsigned flags = fs::exists(stores) ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, stores.c_str(), flags) != 0) {
    throw Error(stores, "that " + fresh + " cannot take its place (" + std::strerror(errno) + ")",
                "a file system that can exchange two directories");
  }
  // What was there may go only when nothing can bring it back.
  sync_directory(fs::path(stores).parent_path());
  fs::remove_all(fresh);
}

// --- StoreWriter ---

StoreWriter::StoreWriter(const std::string& path, const Layout& layout)
    : path_(path), db_(RocksDb::Options{.path = path, .layout = layout}) {}

void StoreWriter::put(std::string_view key, std::string_view value) {
  batch_.put(key, value);
  if (batch_.bytes() >= kBatchBytes) write();
}

void StoreWriter::erase(std::string_view key) {
  batch_.erase(key);
}

std::optional<std::string> StoreWriter::get(std::string_view key) {
  write();
  return db_.get(key);
}

void StoreWriter::write() {
  const Batch batch = std::exchange(batch_, {});
  const Batch* batches[] = {&batch};
  if (!batch.empty()) check(db_.write(batches, false), path_);
}

void StoreWriter::finish() {
  write();
  check(db_.flush(), path_);
  check(db_.sync(), path_);
}

// --- the subscriptions of one store, to deliver its outbox ---

class Rebuild::Subscriptions {
 public:
  struct Entry {
    uint64_t sid;
    SubscriptionRecord options;
  };

  explicit Subscriptions(const Source& source) {
    source.db->for_each(prefix(Kind::subscription), [&](std::string_view bytes, std::string_view value) {
      const std::optional<Key> key = parse_key(bytes);
      Entry entry{};
      if (!key || !decode(value, entry.options)) malformed(bytes);
      entry.sid = key->sid;
      if (!source.sessions.contains(entry.sid)) return true;
      const std::string filter(key->text);
      if (key->shared) {
        groups_[{std::string(key->group), filter}].push_back(entry);
      } else {
        (proto::has_wildcard(filter) ? wild_ : exact_)[filter].push_back(entry);
      }
      return true;
    });
    source.db->for_each(prefix(Kind::delivery), [&](std::string_view bytes, std::string_view value) {
      DeliveryRecord delivery;
      if (!decode(value, delivery, kAsStored)) malformed(bytes);
      if (delivery.shared) given_.insert(given(*delivery.message, delivery.group, delivery.filter));
      return true;
    });
  }

  // A member has it.
  bool has(const PendingRecord& shared) const {
    return given_.contains(given(*shared.message, shared.group, shared.filter));
  }
  // By session.
  std::map<uint64_t, std::vector<Entry>> matching(std::string_view topic) const {
    std::map<uint64_t, std::vector<Entry>> found;
    const auto add = [&](const std::vector<Entry>& entries) {
      for (const Entry& entry : entries) found[entry.sid].push_back(entry);
    };
    if (const auto it = exact_.find(std::string(topic)); it != exact_.end()) add(it->second);
    for (const auto& [filter, entries] : wild_) {
      if (proto::matches(filter, topic)) add(entries);
    }
    return found;
  }
  const std::vector<Entry>* group(const std::string& name, const std::string& filter) const {
    const auto it = groups_.find({name, filter});
    return it == groups_.end() ? nullptr : &it->second;
  }

 private:
  std::unordered_map<std::string, std::vector<Entry>> exact_;
  std::unordered_map<std::string, std::vector<Entry>> wild_;
  std::map<std::pair<std::string, std::string>, std::vector<Entry>> groups_;
  using Given = std::tuple<uint64_t, uint64_t, std::string, std::string>;
  static Given given(const bus::Message& message, const std::string& group, const std::string& filter) {
    return {message.once().incarnation, message.once().sequence, group, filter};
  }
  std::set<Given> given_;
};

// --- Rebuild ---

Rebuild::Rebuild(std::vector<std::string> sources, std::string stores, uint32_t slots)
    : source_directories_(std::move(sources)), stores_(std::move(stores)), fresh_(stores_ + ".new"), slots_(slots) {}

void Rebuild::run() {
  fs::remove_all(fresh_);
  open_sources();
  for (size_t i = 0; i < sources_.size(); ++i) choose_sessions(i);
  place_sessions();
  for (Source& source : sources_) note_seen(source);
  open_targets();
  for (Source& source : sources_) copy(source);
  copy_retained();
  copy_cluster();
  copy_life();
  deliver_outboxes();
  for (const auto& target : targets_) target->finish();
  targets_.clear();
  sources_.clear();
  note_slots(fresh_, slots_);
  sync_directory(fresh_);
  replace_stores(fresh_, stores_);
}

void Rebuild::open_sources() {
  for (size_t set = 0; set < source_directories_.size(); ++set) {
    for (const uint32_t slot : stored_slots(source_directories_[set])) {
      Source source;
      source.set = set;
      source.db = std::make_unique<RocksDb>(
          RocksDb::Options{.path = slot_in(source_directories_[set], slot), .layout = {}, .read_only = true});
      sources_.push_back(std::move(source));
    }
  }
}

void Rebuild::open_targets() {
  if (mkdir(fresh_.c_str(), 0700) != 0) throw Error(fresh_, std::strerror(errno), "to make it");
  for (uint32_t slot = 0; slot < slots_; ++slot) {
    targets_.push_back(std::make_unique<StoreWriter>(slot_in(fresh_, slot), Layout{slot, slots_}));
  }
  next_accepted_.assign(slots_, 1);
}

void Rebuild::choose_sessions(size_t index) {
  sources_[index].db->for_each(prefix(Kind::session), [&](std::string_view bytes, std::string_view value) {
    const std::optional<Key> key = parse_key(bytes);
    SessionRecord session;
    if (!key || !decode(value, session)) malformed(bytes);
    const Winner candidate{index, key->sid, session.epoch};
    const auto [it, fresh] = winners_.try_emplace(session.client_id, candidate);
    if (!fresh && candidate.epoch > it->second.epoch) it->second = candidate;
    return true;
  });
}

void Rebuild::place_sessions() {
  std::vector<uint64_t> next_sid(slots_, 1);
  for (const auto& [client_id, winner] : winners_) {
    Source& source = sources_[winner.source];
    Session session;
    const uint32_t slot = source.db->layout().slot;
    session.moved = source.set != 0 || slot >= slots_;
    session.slot = session.moved ? base::home_of(client_id, slots_) : slot;
    session.sid = next_sid[session.slot]++;
    session.client_id = client_id;
    source.sessions.emplace(winner.sid, std::move(session));
  }
  winners_.clear();
}

// Which incarnations' messages may still be routed again, and what of them a store has seen.
void Rebuild::note_seen(Source& source) {
  source.db->for_each(prefix(Kind::seen), [&](std::string_view bytes, std::string_view value) {
    const std::optional<Key> key = parse_key(bytes);
    uint64_t sequence = 0;
    if (!key || !decode_number(value, sequence)) malformed(bytes);
    source.seen.push_back({key->slot, key->incarnation, key->seen, sequence});
    return true;
  });
  std::string alive;
  meta_key(alive, "alive");
  if (const auto value = source.db->get(alive); value && !decode_number(*value, source.alive)) malformed(alive);
  source.db->for_each(prefix(Kind::accepted), [&](std::string_view bytes, std::string_view value) {
    PendingRecord pending;
    if (!decode(value, pending, kAsStored)) malformed(bytes);
    pending_incarnations_.insert(pending.message->once().incarnation);
    return true;
  });
}

void Rebuild::copy(Source& source) {
  source.db->for_each({}, [&](std::string_view bytes, std::string_view value) {
    const std::optional<Key> key = parse_key(bytes);
    if (!key) malformed(bytes);
    copy_record(source, *key, value);
    return true;
  });
}

void Rebuild::copy_record(Source& source, const Key& key, std::string_view value) {
  const auto it = source.sessions.find(key.sid);
  Session* const session = it == source.sessions.end() ? nullptr : &it->second;
  const uint32_t slot = source.db->layout().slot;
  switch (key.kind) {
    case Kind::session:
      if (session != nullptr) copy_session(source, *session, value);
      return;
    case Kind::subscription:
      if (session == nullptr) return;
      key.shared ? share_key(key_, session->sid, key.group, key.text) : subscription_key(key_, session->sid, key.text);
      return targets_[session->slot]->put(key_, value);
    case Kind::delivery:
      if (session == nullptr) return;
      session->next_position = std::max(session->next_position, key.number + 1);
      delivery_key(key_, session->sid, key.number);
      return targets_[session->slot]->put(key_, value);
    case Kind::progress:
      if (session == nullptr) return;
      session->next_position = std::max(session->next_position, key.number + 1);
      progress_key(key_, session->sid, key.number);
      return targets_[session->slot]->put(key_, value);
    case Kind::incoming:
      if (session == nullptr) return;
      incoming_key(key_, session->sid, static_cast<uint16_t>(key.number));
      return targets_[session->slot]->put(key_, value);
    case Kind::accepted: {
      const uint32_t target = slot % slots_;
      accepted_key(key_, next_accepted_[target]++);
      return targets_[target]->put(key_, value);
    }
    case Kind::seen:
      if (source.set != 0 || slot >= slots_) return;  // its sessions take it along
      seen_key(key_, key.slot, key.incarnation, key.seen);
      return targets_[slot]->put(key_, value);
    case Kind::meta:
      if (constexpr std::string_view kUnheard = "unheard/"; key.text.starts_with(kUnheard)) {
        if (source.set != 0) return;
        meta_key(key_, key.text);
        return targets_[base::home_of(key.text.substr(kUnheard.size()), slots_)]->put(key_, value);
      }
      if (key.text != "alive" || source.set != 0 || slot >= slots_) return;
      meta_key(key_, key.text);
      return targets_[slot]->put(key_, value);
    case Kind::outbox:
    case Kind::retained:
      return;  // elsewhere
  }
}

void Rebuild::copy_session(const Source& source, const Session& session, std::string_view value) {
  session_key(key_, session.sid);
  if (!session.moved) return targets_[session.slot]->put(key_, value);
  SessionRecord record;
  if (!decode(value, record)) malformed(key_);
  if (record.disconnected_at == 0) record.disconnected_at = source.alive;
  for (const Mark& seen : source.seen) {
    if (seen.kind != kAcceptedStream || !pending_incarnations_.contains(seen.incarnation)) continue;
    const auto same = std::ranges::find_if(record.marks, [&](const Mark& mark) {
      return mark.incarnation == seen.incarnation && mark.kind == kAcceptedMark;
    });
    if (same == record.marks.end()) {
      record.marks.push_back({0, seen.incarnation, kAcceptedMark, seen.sequence});
    } else {
      same->sequence = std::max(same->sequence, seen.sequence);
    }
  }
  encode(value_, record);
  targets_[session.slot]->put(key_, value_);
}

// --- retained messages ---

void Rebuild::copy_retained() {
  for (Source& source : sources_) copy_retained(source, true);
  for (Source& source : sources_) copy_retained(source, false);
}

void Rebuild::copy_retained(Source& source, bool at_home) {
  const Layout layout = source.db->layout();
  source.db->for_each(prefix(Kind::retained), [&](std::string_view bytes, std::string_view value) {
    const std::optional<Key> key = parse_key(bytes);
    RetainedRecord record;
    if (!key || !decode(value, record, kAsStored)) malformed(bytes);
    if ((base::home_of(key->text, layout.slots) == layout.slot) != at_home) return true;
    StoreWriter& target = *targets_[base::home_of(key->text, slots_)];
    // Within one set of stores each topic is at home once.
    if (!at_home || source.set != 0) {
      const std::optional<RetainedRecord> rival = retained_in(target, bytes);
      if (rival && (!at_home || !newer(record, *rival))) return true;
    }
    target.put(bytes, value);
    return true;
  });
}

bool Rebuild::knows(const Source& source, const bus::Message& message, bool retained) {
  const unsigned kind =
      (retained ? kRetainedStream : 0u) | ((message.once().sequence & kAcceptedBit) != 0 ? kAcceptedStream : 0u);
  return std::ranges::any_of(source.seen, [&](const Mark& seen) {
    return seen.kind == kind && seen.incarnation == message.once().incarnation &&
           message.once().sequence <= seen.sequence;
  });
}

// A change of a retained message that its home has not heard of. Nor has the cluster, if the host is in one: then it
// is offered there, and so a deletion of what came from there must be remembered.
void Rebuild::set_retained(const bus::MessageRef& message) {
  StoreWriter& target = *targets_[base::home_of(message->topic(), slots_)];
  retained_key(key_, message->topic());
  const std::optional<RetainedRecord> before = retained_in(target, key_);
  const bool deleted = message->payload().empty();
  const bool known_elsewhere = before && before->version != 0 && !before->unconfirmed;
  if (deleted && !known_elsewhere) return target.erase(key_);
  encode(value_, {before ? before->version + 1 : 1, true, message}, kAsStored);
  target.put(key_, value_);
}

// The new stores are of a cluster if all old ones were of the same.
void Rebuild::copy_cluster() {
  std::set<std::string> clusters;
  std::string key;
  meta_key(key, "cluster");
  for (Source& source : sources_) clusters.insert(source.db->get(key).value_or(""));
  if (clusters.size() != 1 || clusters.begin()->empty()) return;
  for (const auto& target : targets_) target->put(key, *clusters.begin());
}

// And of a host's life, as far as all of them were.
void Rebuild::copy_life() {
  std::optional<LifeRecord> life;
  std::string key;
  meta_key(key, "life");
  for (Source& source : sources_) {
    if (source.set != 0) continue;
    LifeRecord record;
    const std::optional<std::string> value = source.db->get(key);
    if (!value || !decode(*value, record)) return;
    if (life && (life->cluster != record.cluster || life->key != record.key)) return;
    if (life) record.copied_us = std::min(record.copied_us, life->copied_us);
    life = record;
  }
  if (!life) return;
  encode(value_, *life);
  for (const auto& target : targets_) target->put(key, value_);
}

// --- outboxes ---

Rebuild::Source* Rebuild::source_of(size_t set, uint32_t slot) {
  const auto it = std::ranges::find_if(
      sources_, [&](const Source& source) { return source.set == set && source.db->layout().slot == slot; });
  return it == sources_.end() ? nullptr : &*it;
}

void Rebuild::deliver_outboxes() {
  std::map<const Source*, Subscriptions> subscriptions;
  for (const Source& from : sources_) {
    from.db->for_each(prefix(Kind::outbox), [&](std::string_view bytes, std::string_view value) {
      const std::optional<Key> key = parse_key(bytes);
      PendingRecord pending;
      if (!key || !decode(value, pending, kAsStored)) malformed(bytes);
      const bool retain = pending.purpose == Purpose::retain;
      Source* const to = source_of(from.set, key->slot);
      // Messages of a group come in no order of their numbers: who has them is known by themselves.
      const bool numbered = pending.purpose != Purpose::shared;
      if (to != nullptr && numbered && knows(*to, *pending.message, retain)) return true;
      if (retain) return set_retained(pending.message), true;
      if (to == nullptr) return true;
      if (deliver(*to, subscriptions.try_emplace(to, *to).first->second, pending) || numbered) return true;
      for (Source& other : sources_) {  // a member anywhere
        if (other.set != from.set || &other == to) continue;
        if (deliver(other, subscriptions.try_emplace(&other, other).first->second, pending)) break;
      }
      return true;
    });
  }
}

bool Rebuild::deliver(Source& to, const Subscriptions& subscriptions, const PendingRecord& pending) {
  const bus::Message& message = *pending.message;
  using Entries = std::vector<Subscriptions::Entry>;
  const bool shared = is_shared(pending.purpose);
  const auto enqueue = [&](uint64_t old_sid, const Entries& entries) {
    Session& session = to.sessions.at(old_sid);
    auto qos = proto::QoS::at_most_once;
    bool retain = false;
    std::vector<uint32_t> ids;
    for (const Subscriptions::Entry& entry : entries) {
      if (entry.options.no_local && message.publisher() == session.client_id) continue;
      qos = std::max(qos, std::min(message.qos(), entry.options.qos));
      retain = retain || (entry.options.retain_as_published && message.retain());
      if (entry.options.identifier != 0) ids.push_back(entry.options.identifier);
    }
    if (qos == proto::QoS::at_most_once) return;
    delivery_key(key_, session.sid, session.next_position++);
    encode_delivery(value_, {}, qos, retain, ids.data(), ids.size(), shared, pending.group, pending.filter, message,
                    kAsStored);
    targets_[session.slot]->put(key_, value_);
  };
  if (shared) {
    const Entries* members = subscriptions.group(pending.group, pending.filter);
    if (subscriptions.has(pending)) return true;
    if (members != nullptr) enqueue(members->front().sid, {members->front()});
    return members != nullptr;
  }
  for (const auto& [sid, entries] : subscriptions.matching(message.topic())) enqueue(sid, entries);
  return true;
}

}  // namespace store
