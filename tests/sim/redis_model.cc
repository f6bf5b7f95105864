#include "tests/sim/redis_model.h"

#include <algorithm>

namespace sim {

using cluster::Claimed;
using cluster::Held;
using cluster::Membership;

namespace {

uint32_t part_of(std::string_view client) {
  uint32_t hash = 2166136261U;
  for (const char c : client) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash % RedisModel::kDirectoryParts;
}

}  // namespace

void RedisModel::restart_empty() {
  state_ = State();
  restarted();
}

void RedisModel::restart_older() {
  if (snapshot_) state_ = *snapshot_;
  restarted();
}

void RedisModel::restarted() {
  state_.cluster_id = ++last_cluster_id_;
  ++run_;
  ++nodes_version_;
}

// As the ids of a stream: never one that was there before, whatever was lost.
uint64_t RedisModel::next_id(uint64_t last) const {
  return std::max<uint64_t>(last + 1, clock_us());
}

// --- membership ---

RedisModel::Status RedisModel::check(const Caller& caller, bool writes) const {
  const auto it = state_.nodes.find(caller.key);
  if (it == state_.nodes.end()) return Status::fenced;
  if (it->second.gateway != caller.gateway) return Status::fenced;
  return writes && full_ ? Status::refused : Status::ok;
}

// Under which a node joins.
std::string RedisModel::name_of(const std::string& key) const {
  const std::string& adopter = state_.nodes.at(key).adopter;
  return adopter.empty() ? key.substr(0, key.rfind('.')) : key + '@' + adopter;
}

void RedisModel::forget_name(const std::string& key) {
  const auto it = state_.names.find(name_of(key));
  if (it != state_.names.end() && it->second == key) state_.names.erase(it);
}

Membership RedisModel::membership(const std::string& key, bool fresh, uint64_t lease_ms) {
  const uint64_t now = clock_.now_ms();
  if (!std::exchange(state_.seen, true) || now - state_.seen_ms > lease_ms / 2) state_.calm_since_ms = now;
  state_.seen_ms = now;
  Membership m;
  m.key = key;
  m.fresh = fresh;
  m.cluster_id = state_.cluster_id;
  m.calm_ms = now - state_.calm_since_ms;
  const std::deque<cluster::Entry>& inbox = state_.nodes.at(key).inbox;
  m.inbox_end = inbox.empty() ? 0 : inbox.back().id;
  for (const auto& [other, node] : state_.nodes) {
    m.nodes.push_back({other, node.gateway, node.lease_until > now ? node.lease_until - now : 0, node.adopter, {}});
  }
  return m;
}

RedisModel::Result<Membership> RedisModel::join(const std::string& name, uint64_t gateway, uint64_t lease_ms) {
  if (full_) return {Status::refused, {}};
  std::string key = state_.names.contains(name) ? state_.names[name] : "";
  if (!key.empty() && state_.nodes[key].gateway > gateway) return {Status::fenced, {}};
  const bool fresh = key.empty();
  if (fresh) {
    state_.last_life = next_id(state_.last_life);
    key = name + '.' + std::to_string(state_.last_life);
    state_.names[name] = key;
  }
  Node& node = state_.nodes[key];
  node.gateway = gateway;
  node.lease_until = clock_.now_ms() + lease_ms;
  ++nodes_version_;
  return {Status::ok, membership(key, fresh, lease_ms)};
}

RedisModel::Result<Membership> RedisModel::renew(const Caller& caller, uint64_t lease_ms) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  state_.nodes[caller.key].lease_until = clock_.now_ms() + lease_ms;
  return {Status::ok, membership(caller.key, false, lease_ms)};
}

RedisModel::Status RedisModel::leave(const Caller& caller) {
  if (const Status status = check(caller); status != Status::ok) return status;
  state_.nodes[caller.key].lease_until = clock_.now_ms();
  ++nodes_version_;
  return Status::ok;
}

// --- traffic ---

RedisModel::Status RedisModel::send(const Caller& caller, const std::string& to, uint64_t number, std::string frames) {
  if (const Status status = check(caller); status != Status::ok) return status;
  const auto it = state_.nodes.find(to);
  if (it == state_.nodes.end()) return state_.buried.contains(to) ? Status::ok : Status::refused;
  Node& node = it->second;
  auto& [gateway, last] = node.sent[caller.key];
  if (gateway != caller.gateway) {
    gateway = caller.gateway;
    last = 0;
  }
  if (number <= last) return Status::ok;
  last = number;
  node.last_entry = next_id(node.last_entry);
  node.inbox.push_back({node.last_entry, caller.key, caller.gateway, std::move(frames)});
  return Status::ok;
}

void RedisModel::datagram(const Caller& caller, const std::string& to, std::string_view frames) {
  for (Listener* listener : listeners_) listener->on_publish(to, caller.key, frames);
}

std::vector<cluster::Entry> RedisModel::read(const std::string& inbox, uint64_t after, size_t max_bytes) const {
  std::vector<cluster::Entry> out;
  const auto it = state_.nodes.find(inbox);
  if (it == state_.nodes.end()) return out;
  size_t bytes = 0;
  for (const cluster::Entry& entry : it->second.inbox) {
    if (entry.id <= after) continue;
    if (!out.empty() && bytes + entry.frames.size() > max_bytes) break;
    bytes += entry.frames.size();
    out.push_back(entry);
  }
  return out;
}

RedisModel::Status RedisModel::trim(const Caller& caller, uint64_t id) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  std::deque<cluster::Entry>& entries = state_.nodes.at(caller.key).inbox;
  while (!entries.empty() && entries.front().id <= id) entries.pop_front();
  return Status::ok;
}

// --- the directory ---

RedisModel::Result<Claimed> RedisModel::claim(const Caller& caller, std::string_view client, uint64_t at_least) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  Entry& entry = state_.directory[std::string(client)];
  forget_buried(entry);
  Claimed out;
  std::erase_if(entry.claims, [&](const auto& c) { return c.second == caller.key; });
  out.previous = entry.claims.empty() ? entry.holder : entry.claims.back().second;
  entry.epoch = std::max({state_.last_epoch + 1, entry.epoch + 1, at_least, clock_us()});
  state_.last_epoch = entry.epoch;
  out.epoch = entry.epoch;
  entry.claims.emplace_back(entry.epoch, caller.key);
  return {Status::ok, out};
}

RedisModel::Result<Held> RedisModel::hold(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  Entry& entry = state_.directory[std::string(client)];
  state_.last_epoch = std::max(state_.last_epoch, epoch);
  forget_buried(entry);
  Held out;
  std::erase_if(entry.claims, [&](const auto& c) { return c.second == caller.key && c.first <= epoch; });
  if (epoch > entry.held || entry.holder.empty() || entry.holder == caller.key) {
    if (entry.holder != caller.key) out.previous = entry.holder;
    entry.holder = caller.key;
    entry.held = std::max(entry.held, epoch);
    entry.epoch = std::max(entry.epoch, epoch);
    std::erase_if(entry.claims, [epoch](const auto& c) { return c.first <= epoch; });
  }
  out.holder = entry.holder;
  out.epoch = entry.epoch;
  return {Status::ok, out};
}

void RedisModel::forget_buried(Entry& entry) const {
  std::erase_if(entry.claims, [this](const auto& c) { return state_.buried.contains(c.second); });
  if (state_.buried.contains(entry.holder)) entry.holder.clear(), entry.held = 0;
}

void RedisModel::forget_if_empty(std::string_view client) {
  const auto it = state_.directory.find(client);
  if (it != state_.directory.end() && it->second.holder.empty() && it->second.claims.empty()) {
    state_.directory.erase(it);
  }
}

RedisModel::Status RedisModel::withdraw(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.directory.find(client);
  if (it == state_.directory.end()) return Status::ok;
  Entry& entry = it->second;
  forget_buried(entry);
  std::erase_if(entry.claims, [&](const auto& c) { return c.second == caller.key && c.first == epoch; });
  forget_if_empty(client);
  return Status::ok;
}

RedisModel::Status RedisModel::release(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.directory.find(client);
  if (it == state_.directory.end()) return Status::ok;
  Entry& entry = it->second;
  forget_buried(entry);
  std::erase_if(entry.claims, [&](const auto& c) { return c.second == caller.key && c.first <= epoch; });
  if (entry.holder == caller.key && entry.held <= epoch) entry.holder.clear();
  forget_if_empty(client);
  return Status::ok;
}

std::string RedisModel::holder(std::string_view client) const {
  const auto it = state_.directory.find(client);
  return it == state_.directory.end() || state_.buried.contains(it->second.holder) ? "" : it->second.holder;
}

Claimed RedisModel::before(std::string_view client, uint64_t epoch) const {
  const auto it = state_.directory.find(client);
  if (it == state_.directory.end()) return {};
  Entry entry = it->second;
  forget_buried(entry);
  Claimed out{0, entry.holder};
  for (const auto& [number, key] : entry.claims) {
    if (number < epoch) out = {number, key};
  }
  return out;
}

RedisModel::Result<std::vector<cluster::Hub::Mine>> RedisModel::mine(const Caller& caller, uint32_t part) const {
  if (const Status status = check(caller, false); status != Status::ok) return {status, {}};
  std::vector<cluster::Hub::Mine> out;
  for (const auto& [client, entry] : state_.directory) {
    if (part_of(client) != part) continue;
    if (entry.holder == caller.key) out.push_back({client, entry.held, true});
    for (const auto& [epoch, key] : entry.claims) {
      if (key == caller.key) out.push_back({client, epoch, false});
    }
  }
  return {Status::ok, out};
}

// --- retained messages ---

void RedisModel::keep(const cluster::Retained& item) {
  auto [it, added] = state_.retained.try_emplace(item.topic);
  Kept& kept = it->second;
  if (added) {
    kept.ordinal = ++state_.last_ordinal;
    state_.ordinals[kept.ordinal] = item.topic;
  }
  kept.item = item;
  kept.since_ms = clock_.now_ms();
  state_.last_change = next_id(state_.last_change);
  state_.changes.emplace_back(state_.last_change, item);
  while (state_.changes.size() > max_changes) {
    state_.dropped_change = state_.changes.front().first;
    state_.changes.pop_front();
  }
  sweep_tombstones();
}

void RedisModel::sweep_tombstones() {
  for (auto it = state_.retained.begin(); it != state_.retained.end();) {
    const Kept& kept = it->second;
    if (!kept.item.value.empty() || kept.since_ms + tombstone_ms > clock_.now_ms()) {
      ++it;
      continue;
    }
    state_.ordinals.erase(kept.ordinal);
    it = state_.retained.erase(it);
  }
}

RedisModel::Result<uint64_t> RedisModel::retain(const Caller& caller, std::string_view topic, std::string_view value,
                                                uint64_t at_least) {
  if (const Status status = check(caller); status != Status::ok) return {status, 0};
  state_.last_version = std::max(state_.last_version, at_least) + 1;
  keep({state_.last_version, std::string(topic), std::string(value)});
  return {Status::ok, state_.last_version};
}

RedisModel::Result<uint64_t> RedisModel::retain_again(const Caller& caller, const cluster::Retained& item) {
  if (const Status status = check(caller); status != Status::ok) return {status, 0};
  const auto it = state_.retained.find(item.topic);
  if (it != state_.retained.end() && it->second.item.version >= item.version) {
    return {Status::ok, it->second.item.version};
  }
  state_.last_version = std::max(state_.last_version, item.version);
  keep(item);
  return {Status::ok, item.version};
}

cluster::Changes RedisModel::changes(uint64_t after) const {
  cluster::Changes out;
  out.next = after;
  if (after == 0) {
    out.next = std::max<uint64_t>(state_.last_change, 1);
    return out;
  }
  out.gap = after < state_.dropped_change;
  for (const auto& [id, item] : state_.changes) {
    if (id <= after || out.items.size() >= 8) continue;
    out.items.push_back(item);
    out.next = id;
  }
  return out;
}

cluster::Changes RedisModel::snapshot(uint64_t cursor, size_t max_items) const {
  cluster::Changes out;
  for (auto it = state_.ordinals.upper_bound(cursor); it != state_.ordinals.end(); ++it) {
    if (out.items.size() == max_items) {
      out.next = std::prev(it)->first;
      break;
    }
    out.items.push_back(state_.retained.find(it->second)->second.item);
  }
  return out;
}

size_t RedisModel::retained_count() const {
  return static_cast<size_t>(std::count_if(state_.retained.begin(), state_.retained.end(),
                                           [](const auto& kept) { return !kept.second.item.value.empty(); }));
}

// --- copies and adoption ---

RedisModel::Status RedisModel::begin_copy(const Caller& caller, uint32_t slot, uint64_t round) {
  if (const Status status = check(caller); status != Status::ok) return status;
  Node::Copy& copy = state_.nodes[caller.key].copies[slot];
  if (round == copy.round || round == copy.under_way) return Status::ok;
  copy.under_way = round;
  copy.next.clear();
  return Status::ok;
}

RedisModel::Status RedisModel::copy(const Caller& caller, uint32_t slot, uint64_t round, const store::Batch& batch) {
  if (const Status status = check(caller, !batch.only_erases()); status != Status::ok) return status;
  const auto it = state_.nodes[caller.key].copies.find(slot);
  if (it == state_.nodes[caller.key].copies.end()) return Status::refused;
  Node::Copy& copy = it->second;
  if (round != copy.round && round != copy.under_way) return Status::refused;
  auto& records = round == copy.round ? copy.records : copy.next;
  batch.for_each([&records](bool erase, std::string_view key, std::string_view value) {
    if (erase) {
      records.erase(std::string(key));
    } else {
      records[std::string(key)] = value;
    }
  });
  return Status::ok;
}

RedisModel::Status RedisModel::finish_copy(const Caller& caller, uint32_t slot, uint64_t round) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.nodes[caller.key].copies.find(slot);
  if (it == state_.nodes[caller.key].copies.end()) return Status::refused;
  Node::Copy& copy = it->second;
  if (round == copy.round) return Status::ok;
  if (round != copy.under_way) return Status::refused;
  copy.records = std::move(copy.next);
  copy.next.clear();
  copy.round = std::exchange(copy.under_way, 0);
  return Status::ok;
}

RedisModel::Status RedisModel::keep_copies(const Caller& caller, uint32_t slots) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  auto& copies = state_.nodes[caller.key].copies;
  copies.erase(copies.lower_bound(slots), copies.end());
  return Status::ok;
}

cluster::Hub::Records RedisModel::read_copy(const std::string& node, uint64_t cursor, size_t max_items) const {
  cluster::Hub::Records out;
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end()) return out;
  uint64_t index = 0;
  for (const auto& [slot, copy] : it->second.copies) {
    for (const auto& [key, value] : copy.round != 0 ? copy.records : copy.next) {
      if (index++ < cursor) continue;
      if (out.items.size() == max_items) {
        out.next = index - 1;
        return out;
      }
      out.items.push_back({slot, key, value});
    }
  }
  return out;
}

RedisModel::Result<std::string> RedisModel::adopt(const Caller& caller, const std::string& node, uint64_t lease_ms,
                                                  uint64_t within_ms) {
  if (const Status status = check(caller, false); status != Status::ok) return {status, {}};
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end() || node == caller.key) return {Status::ok, {}};
  if (may_adopt && !may_adopt(node)) return {Status::ok, {}};
  Node& dead = it->second;
  const uint64_t now = clock_.now_ms();
  const bool over = dead.lease_until + lease_ms <= now;
  if (dead.adopter != caller.key || over) {
    if (!over || now - state_.calm_since_ms < lease_ms + lease_ms / 2) return {Status::ok, {}};
    forget_name(node);
    dead.adopter = caller.key;
    dead.gateway = 0;
    dead.lease_until = now + within_ms;
    state_.names[name_of(node)] = node;
    ++nodes_version_;
  }
  return {Status::ok, name_of(node)};
}

RedisModel::Status RedisModel::bury(const Caller& caller) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.nodes.find(caller.key);
  if (!it->second.inbox.empty()) return Status::refused;
  forget_name(caller.key);
  state_.nodes.erase(it);
  for (auto& [key, other] : state_.nodes) other.sent.erase(caller.key);
  state_.buried.insert(caller.key);
  ++nodes_version_;
  return Status::ok;
}

}  // namespace sim
