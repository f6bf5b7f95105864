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
  return hash % RedisModel::kPurgeParts;
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
  if (it == state_.nodes.end() || !it->second.adopter.empty()) return Status::fenced;
  if (it->second.gateway != caller.gateway) return Status::fenced;
  return writes && full_ ? Status::refused : Status::ok;
}

bool RedisModel::speaks_for(const Caller& caller, const std::string& node) const {
  if (caller.key == node) return true;
  const auto it = state_.nodes.find(node);
  return it != state_.nodes.end() && it->second.adopter == caller.key;
}

std::string RedisModel::current_life(const std::string& name) const {
  std::string newest;
  uint64_t life = 0;
  for (const auto& [key, node] : state_.nodes) {
    const size_t dot = key.rfind('.');
    if (key.substr(0, dot) != name) continue;
    const uint64_t number = std::stoull(key.substr(dot + 1));
    if (number <= life) continue;
    life = number;
    newest = key;
  }
  return newest;
}

Membership RedisModel::membership(const std::string& key, bool fresh) const {
  Membership m;
  m.key = key;
  m.fresh = fresh;
  m.cluster_id = state_.cluster_id;
  const std::deque<cluster::Entry>& inbox = state_.nodes.at(key).inbox;
  m.inbox_end = inbox.empty() ? 0 : inbox.back().id;
  for (const auto& [other, node] : state_.nodes) {
    const uint64_t now = clock_.now_ms();
    m.nodes.push_back({other, node.gateway, node.lease_until > now ? node.lease_until - now : 0, node.adopter});
  }
  return m;
}

RedisModel::Result<Membership> RedisModel::join(const std::string& name, uint64_t gateway, uint64_t lease_ms) {
  if (full_) return {Status::refused, {}};
  std::string key = current_life(name);
  uint64_t life = 0;
  if (!key.empty()) {
    const Node& node = state_.nodes[key];
    if (node.gateway > gateway) return {Status::fenced, {}};
    life = std::stoull(key.substr(key.rfind('.') + 1));
    if (!node.adopter.empty()) key.clear();
  }
  const bool fresh = key.empty();
  if (fresh) key = name + '.' + std::to_string(next_id(life));
  Node& node = state_.nodes[key];
  node.gateway = gateway;
  node.lease_until = clock_.now_ms() + lease_ms;
  ++nodes_version_;
  return {Status::ok, membership(key, fresh)};
}

RedisModel::Result<Membership> RedisModel::renew(const Caller& caller, uint64_t lease_ms) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  state_.nodes[caller.key].lease_until = clock_.now_ms() + lease_ms;
  return {Status::ok, membership(caller.key, false)};
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
  if (it == state_.nodes.end()) return Status::ok;
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

RedisModel::Status RedisModel::trim(const Caller& caller, const std::string& inbox, uint64_t id) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.nodes.find(inbox);
  if (it == state_.nodes.end()) return Status::ok;
  if (!speaks_for(caller, inbox)) return Status::refused;
  std::deque<cluster::Entry>& entries = it->second.inbox;
  while (!entries.empty() && entries.front().id <= id) entries.pop_front();
  return Status::ok;
}

// --- the directory ---

RedisModel::Result<Claimed> RedisModel::claim(const Caller& caller, std::string_view client, uint64_t at_least) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  Entry& entry = state_.directory[std::string(client)];
  Claimed out;
  if (entry.claimant != caller.key) entry.before = entry.claimant.empty() ? entry.holder : entry.claimant;
  out.previous = entry.before;
  entry.epoch = std::max({entry.epoch + 1, at_least, clock_us()});
  entry.claimant = caller.key;
  entry.claimed = out.epoch = entry.epoch;
  return {Status::ok, out};
}

RedisModel::Result<Held> RedisModel::hold(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller); status != Status::ok) return {status, {}};
  Entry& entry = state_.directory[std::string(client)];
  Held out;
  if (epoch >= entry.held || entry.holder.empty() || entry.holder == caller.key) {
    if (entry.holder != caller.key) out.previous = entry.holder;
    entry.holder = caller.key;
    entry.held = std::max(entry.held, epoch);
    entry.epoch = std::max(entry.epoch, epoch);
    if (entry.claimed <= epoch) {
      entry.claimant.clear();
      entry.claimed = 0;
    }
  }
  out.holder = entry.holder;
  out.epoch = entry.epoch;
  return {Status::ok, out};
}

void RedisModel::forget_if_empty(std::string_view client) {
  const auto it = state_.directory.find(client);
  if (it != state_.directory.end() && it->second.holder.empty() && it->second.claimant.empty()) {
    state_.directory.erase(it);
  }
}

RedisModel::Status RedisModel::withdraw(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.directory.find(client);
  if (it == state_.directory.end()) return Status::ok;
  Entry& entry = it->second;
  if (entry.claimant == caller.key && entry.claimed == epoch) {
    entry.claimant.clear();
    entry.claimed = 0;
  }
  forget_if_empty(client);
  return Status::ok;
}

RedisModel::Status RedisModel::release(const Caller& caller, std::string_view client, uint64_t epoch) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.directory.find(client);
  if (it == state_.directory.end()) return Status::ok;
  Entry& entry = it->second;
  if (!entry.claimant.empty() && entry.claimant != caller.key) return Status::ok;
  const bool claims = entry.claimant == caller.key && entry.claimed <= epoch;
  const bool holds = entry.holder == caller.key && entry.held <= epoch && entry.claimed <= epoch;
  if (claims || holds) state_.directory.erase(it);
  return Status::ok;
}

std::string RedisModel::holder(std::string_view client) const {
  const auto it = state_.directory.find(client);
  return it == state_.directory.end() ? "" : it->second.holder;
}

RedisModel::Status RedisModel::purge(const Caller& caller, const std::string& node, uint32_t part) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end()) return Status::ok;
  if (it->second.adopter != caller.key) return Status::refused;
  std::vector<std::string> touched;
  for (auto& [client, entry] : state_.directory) {
    if (part_of(client) != part) continue;
    if (entry.holder == node) entry.holder.clear(), entry.held = 0;
    if (entry.claimant == node) entry.claimant.clear(), entry.claimed = 0;
    if (entry.holder.empty() && entry.claimant.empty()) touched.push_back(client);
  }
  for (const std::string& client : touched) forget_if_empty(client);
  return Status::ok;
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

RedisModel::Status RedisModel::copy(const Caller& caller, uint32_t slot, const store::Batch& batch) {
  if (const Status status = check(caller, !batch.only_erases()); status != Status::ok) return status;
  auto& records = state_.nodes[caller.key].copies[slot];
  batch.for_each([&records](bool erase, std::string_view key, std::string_view value) {
    if (erase) {
      records.erase(std::string(key));
    } else {
      records[std::string(key)] = value;
    }
  });
  if (records.empty()) state_.nodes[caller.key].copies.erase(slot);
  return Status::ok;
}

RedisModel::Status RedisModel::clear_copy(const Caller& caller, uint32_t slot) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  state_.nodes[caller.key].copies.erase(slot);
  return Status::ok;
}

cluster::Hub::Records RedisModel::read_copy(const std::string& node, uint64_t cursor, size_t max_items) const {
  cluster::Hub::Records out;
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end()) return out;
  uint64_t index = 0;
  for (const auto& [slot, records] : it->second.copies) {
    for (const auto& [key, value] : records) {
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

RedisModel::Result<bool> RedisModel::adopt(const Caller& caller, const std::string& node) {
  if (const Status status = check(caller); status != Status::ok) return {status, false};
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end() || node == caller.key || !lease_over(it->second)) return {Status::ok, false};
  Node& dead = it->second;
  if (dead.adopter == caller.key) return {Status::ok, true};
  const auto other = state_.nodes.find(dead.adopter);
  const bool free = dead.adopter.empty() || other == state_.nodes.end() || lease_over(other->second);
  if (!free) return {Status::ok, false};
  dead.adopter = caller.key;
  ++nodes_version_;
  return {Status::ok, true};
}

RedisModel::Status RedisModel::bury(const Caller& caller, const std::string& node) {
  if (const Status status = check(caller, false); status != Status::ok) return status;
  const auto it = state_.nodes.find(node);
  if (it == state_.nodes.end()) return Status::ok;
  if (it->second.adopter != caller.key) return Status::refused;
  state_.nodes.erase(it);
  for (auto& [key, other] : state_.nodes) other.sent.erase(node);
  ++nodes_version_;
  return Status::ok;
}

}  // namespace sim
