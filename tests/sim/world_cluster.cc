// World as a cluster: the way of each gateway to Redis, and what goes wrong with it, with Redis, and with whole hosts.
#include <algorithm>

#include "tests/sim/world.h"

namespace sim {
namespace {
constexpr uint32_t kOften = 10;
constexpr uint32_t kAtTimes = 3;
constexpr uint32_t kLeasesAtOnce = 10;
}  // namespace

// --- how it goes on ---

void World::collect_hub(const Process& process, std::vector<Event>& out) const {
  const ModelHub& hub = *process.hub;
  const uint32_t often = hosts_[process.host]->slow ? 1 : kOften;
  const auto add = [&](bool can, EventKind kind, uint32_t weight) {
    if (can) out.push_back({kind, process.index, 0, weight});
  };
  add(hub.can_connect(), EventKind::hub_connect, kAtTimes);
  add(hub.can_notice(), EventKind::hub_broken, kAtTimes);
  add(hub.can_carry_out(), EventKind::hub_call, often);
  add(hub.can_answer(), EventKind::hub_answer, often);
  add(hub.can_read_on(), EventKind::hub_read, often);
  add(hub.can_push(), EventKind::hub_push, often);
}

void World::execute_hub(Process& process, EventKind kind) {
  ModelHub& hub = *process.hub;
  const auto some = [this] { return random_.one_in(3) ? size_t{1000} : 1 + static_cast<size_t>(random_.below(4)); };
  if (kind == EventKind::hub_connect) {
    hub.connect();
    trace_.line("!! ", process.name(), hub.connected() ? " reaches Redis" : " cannot reach Redis");
  }
  if (kind == EventKind::hub_broken || kind == EventKind::hub_cut) {
    trace_.line("!! ", process.name(), " loses its connection with Redis");
    hub.break_off();
  }
  if (kind == EventKind::hub_call) hub.carry_out(some());
  if (kind == EventKind::hub_answer) hub.answer(some());
  if (kind == EventKind::hub_read) hub.read_on();
  if (kind == EventKind::hub_push) hub.push();
}

// --- what ends a fault ---

void World::collect_repairs(std::vector<Event>& out) const {
  const base::MonoMs now = clock_.now_ms();
  for (const auto& host : hosts_) {
    if (!host->serves() || now < host->until) continue;
    if (host->partitioned || host->slow) out.push_back({EventKind::host_mend, host->index, 0, 2});
    if (host->down) out.push_back({EventKind::host_back, host->index, 0, 2});
    if (host->paused) out.push_back({EventKind::go_host, host->index, 0, 2});
  }
  if (now < redis_until_) return;
  if (redis_.full()) out.push_back({EventKind::redis_room, 0, 0, 2});
  if (redis_.is_up()) return;
  out.push_back({EventKind::redis_up, 0, 0, 2});
  if (!settings_.faults.redis_lost) return;
  out.push_back({EventKind::redis_empty, 0, 0, 1});
  if (redis_.has_snapshot()) out.push_back({EventKind::redis_older, 0, 0, 1});
}

// --- faults ---

void World::collect_cluster_faults(std::vector<Event>& out) const {
  const Faults& f = settings_.faults;
  for (const auto& host : hosts_) {
    const uint32_t h = host->index;
    if (!host->serves() || host->down) continue;
    const Process* gateway = slots_[gateway_of(h)];
    if (f.hub && gateway != nullptr && gateway->hub->connected()) {
      out.push_back({EventKind::hub_cut, gateway->index, 0, 6});
    }
    if (f.hub && !host->slow) out.push_back({EventKind::host_slow, h, 0, 2});
    if (f.host_cut && !host->partitioned) out.push_back({EventKind::host_cut, h, 0, 3});
    if (f.host_stop && !host->paused) out.push_back({EventKind::stop_host, h, 0, 3});
    if (f.host_death && may_die(*host))
      out.push_back({EventKind::kill_host, h, f.host_gone && random_.one_in(3) ? 1U : 0U, 3});
  }
  if (!redis_.is_up()) return;
  if (f.redis_down) {
    out.push_back({EventKind::redis_down, 0, 0, 4});
    if (!redis_.full()) out.push_back({EventKind::redis_full, 0, 0, 1});
  }
  if (f.redis_lost) out.push_back({EventKind::redis_empty, 0, 0, 1});
  if (f.redis_lost && redis_.has_snapshot()) out.push_back({EventKind::redis_older, 0, 0, 1});
}

bool World::may_die(const Host& host) const {
  return std::all_of(slots_.begin(), slots_.end(), [&](const Process* process) {
    return process == nullptr || process->host != host.index || may_die(*process);
  });
}

// Short ones are over before anybody's lease is, long ones are not.
base::MonoMs World::some_time() {
  const base::MonoMs lease = settings_.lease_ms;
  return clock_.now_ms() + (random_.one_in(2) ? random_.below(lease / 2) : 2 * lease + random_.below(2 * lease));
}

base::MonoMs World::a_long_time() {
  return clock_.now_ms() + settings_.lease_ms * (2 + random_.below(6));
}

base::MonoMs World::longest_pause() const {
  constexpr base::MonoMs kPauseMs = 50;
  const bool long_away = settings_.faults.redis_long && !redis_.is_up() && clock_.now_ms() < redis_until_;
  return long_away ? kLeasesAtOnce * settings_.lease_ms : kPauseMs;
}

void World::execute_cluster(const Event& event) {
  Host& host = *hosts_[event.a];
  switch (event.kind) {
    case EventKind::host_cut:
      host.until = some_time();
      return set_partitioned(event.a, true);
    case EventKind::host_mend:
      host.slow = false;
      return set_partitioned(event.a, false);
    case EventKind::host_slow:
      host.until = some_time();
      host.slow = true;
      return trace_.line("!! host ", event.a, " is slow");
    case EventKind::kill_host:
      host.until = random_.one_in(2) ? some_time() : a_long_time();
      return kill_host(event.a, event.b != 0);
    case EventKind::host_back:
      return revive_host(event.a);
    case EventKind::stop_host:
      host.until = some_time();
      return pause_host(event.a, true);
    case EventKind::go_host:
      return pause_host(event.a, false);
    case EventKind::redis_down:
      redis_until_ =
          settings_.faults.redis_long ? clock_.now_ms() + settings_.lease_ms * (10 + random_.below(200)) : some_time();
      trace_.line("!! Redis is down");
      return redis_.down();
    case EventKind::redis_up:
      trace_.line("!! Redis is up");
      return redis_.up();
    case EventKind::redis_empty:
      trace_.line("!! Redis starts empty");
      redis_.restart_empty();
      redis_.up();
      if (on_redis_lost) on_redis_lost();
      return;
    case EventKind::redis_older:
      trace_.line("!! Redis starts with an older state");
      redis_.restart_older();
      redis_.up();
      if (on_redis_lost) on_redis_lost();
      return;
    case EventKind::redis_full:
      redis_until_ = some_time();
      trace_.line("!! Redis is full");
      return redis_.set_full(true);
    case EventKind::redis_room:
      trace_.line("!! Redis has room");
      return redis_.set_full(false);
    default:
      return;
  }
}

void World::set_partitioned(uint32_t index, bool partitioned) {
  Host& host = *hosts_[index];
  if (host.partitioned != partitioned) {
    trace_.line("!! host ", index, partitioned ? " is cut off from Redis" : " can reach Redis");
  }
  for (const auto& other : hosts_) {
    if (other->index != index && !(other->guest && !other->down && other->guest_of == index)) continue;
    other->partitioned = partitioned;
    Process* gateway = slots_[gateway_of(other->index)];
    if (gateway != nullptr) gateway->hub->set_partitioned(partitioned);
  }
}

void World::kill_host(uint32_t index, bool for_good) {
  Host& host = *hosts_[index];
  const auto other_stays = [&host](const auto& other) { return other.get() != &host && !other->gone; };
  host.gone = for_good && std::ranges::any_of(hosts(), other_stays);
  trace_.line("!! host ", index, host.gone ? " dies for good" : " dies");
  host.paused = false;
  end_processes(host);
  if (on_host_death) on_host_death(host);
  for (const auto& guest : hosts_) {
    if (guest->guest && !guest->down && guest->guest_of == index) end_processes(*guest);
  }
}

void World::end_processes(Host& host) {
  host.down = true;
  for (Process* process : std::vector<Process*>(slots_)) {
    if (process != nullptr && process->host == host.index) kill(*process);
  }
}

// --- guests ---

// One life of a host at a time.
bool World::may_be_adopted(const std::string& key) const {
  return std::ranges::any_of(hosts_, [&](const auto& guest) {
    if (!guest->guest || !key.starts_with(text("host", guest->life_of, '.'))) return false;
    return guest->buried ? hosts_[guest->life_of]->down : guest->config.redis.node_id.starts_with(key + '@');
  });
}

void World::look_for_guest(Host& guest) {
  guest.buried = true;
  for (const auto& [key, node] : redis_.nodes()) {
    if (node.adopter.empty() || !key.starts_with(text("host", guest.life_of, '.'))) continue;
    guest.buried = false;
    return begin_guest(guest, key, node);
  }
}

void World::run_guest(Host& guest) {
  if (guest.down) return look_for_guest(guest);
  if (guest.buried) {
    trace_.line("!! nothing is left of ", guest.config.redis.node_id);
    return end_processes(guest);
  }
  Process* gateway = slots_[gateway_of(guest.index)];
  if (gateway == nullptr || !gateway->ready || page(gateway->place).get(metrics::Gauge::cluster_ready) == 0) return;
  for (uint32_t place = guest.index * per_host(); place < gateway->place; ++place) {
    const Process* worker = slots_[place];
    if (worker == nullptr || !worker->ready || page(place).get(metrics::Gauge::sessions) != 0) return;
  }
  for (const auto gauge : {metrics::Gauge::cluster_waiting_bytes, metrics::Gauge::cluster_inbox_bytes}) {
    if (page(gateway->place).get(gauge) != 0) return;
  }
  gateway->broker->bury();
  gateway->dirty = true;
}

void World::begin_guest(Host& guest, const std::string& key, const RedisModel::Node& node) {
  const auto at = std::ranges::find_if(
      hosts(), [&](const auto& other) { return node.adopter.starts_with(text(other->config.redis.node_id, '.')); });
  if (at == hosts().end() || (*at)->down) return;
  guest.guest_of = (*at)->index;
  guest.config.redis.node_id = key + '@' + node.adopter;
  trace_.line("!! ", key, " goes on at host ", guest.guest_of);
  // One that has run at this adopter goes on with its own stores.
  for (uint32_t slot = 0; node.gateway == 0 && slot + 1 < per_host(); ++slot) {
    store::MemoryStore::Disk& disk = disks_[guest.index * per_host() + slot];
    disk.clear();
    const auto copy = node.copies.find(slot);
    if (copy == node.copies.end()) continue;
    for (const auto& [record, value] : copy->second.round != 0 ? copy->second.records : copy->second.next) {
      if (record[0] != 'M' || record == "Malive") disk[record] = value;
    }
  }
  guest.down = false;
  guest.partitioned = (*at)->partitioned;
  for (uint32_t place = guest.index * per_host(); place < (guest.index + 1) * per_host(); ++place) start(place);
}

// A copy that is not whole is as good as none for who dies now.
void World::note_copies(Host& host) {
  bool whole = true;
  for (uint32_t place = host.index * per_host(); place + 1 < (host.index + 1) * per_host(); ++place) {
    const Process* worker = slots_[place];
    whole = whole && worker != nullptr && page(place).get(metrics::Gauge::cluster_copy_whole) != 0;
  }
  if (whole) {
    host.uncopied = kNever;
  } else if (host.uncopied == kNever) {
    host.uncopied = trace_.step();
  }
}

void World::revive_host(uint32_t index) {
  Host& host = *hosts_[index];
  host.down = false;
  host.rose_after_adoption = host.rose_after_adoption || host.adopted_while_down;
  host.adopted_while_down = false;
  host.started = clock_.now_ms();
  host.started_us = host.clock.wall_us();
  trace_.line("!! host ", index, " starts again");
  for (uint32_t place = index * per_host(); place < (index + 1) * per_host(); ++place) {
    if (slots_[place] == nullptr) start(place);
  }
}

void World::pause_host(uint32_t index, bool paused) {
  hosts_[index]->paused = paused;
  trace_.line("!! host ", index, paused ? " stands still" : " goes on");
  for (Process* process : slots_) {
    if (process == nullptr || process->host != index) continue;
    process->stopped = paused;
    process->stopped_at = clock_.now_ms();
  }
}

void World::heal_cluster() {
  redis_.up();
  redis_.set_full(false);
  for (const auto& host : hosts()) {
    if (host->gone) continue;
    host->slow = false;
    if (host->partitioned) set_partitioned(host->index, false);
    if (host->paused) pause_host(host->index, false);
    if (host->down) revive_host(host->index);
  }
}

// --- what is known of it ---

bool World::troubled(uint32_t index) const {
  const Host& host = *hosts_[index];
  const Process* gateway = slots_[gateway_of(index)];
  if (gateway == nullptr || !gateway->runs() || !gateway->ready || !gateway->hub->connected()) return true;
  if (!redis_.is_up() || redis_.full() || host.partitioned || host.paused || host.down) return true;
  const auto node = redis_.nodes().find(gateway->hub->key());
  return node == redis_.nodes().end() || !node->second.adopter.empty() || redis_.lease_over(node->second);
}

void World::note_lease(Host& host) {
  const auto name = text("host", host.index, '.');
  bool leased = false;
  std::string adopted;
  for (const auto& [key, node] : redis_.nodes()) {
    if (!key.starts_with(name)) continue;
    if (!node.adopter.empty()) adopted = std::max(adopted, key);
    const bool its = node.adopter.empty() || host.down;  // what is left of a former life is not
    leased = leased || (its && node.gateway != 0 && !redis_.lease_over(node));
  }
  if (!leased) host.lost_lease = trace_.step();
  if (adopted <= host.adopted) return;
  host.adopted = adopted;
  host.adopted_while_down = host.down;
  trace_.line("!! ", adopted, " is adopted");
  if (on_adopted) on_adopted(host);
}

void World::note_troubles() {
  for (const auto& host : hosts_) {
    if (host->guest) {
      run_guest(*host);
      continue;
    }
    note_lease(*host);
    if (host->gone) continue;
    if (!host->down) note_copies(*host);
    if (!troubled(host->index)) continue;
    calm_since_ = clock_.now_ms();
    if (host->troubles.empty() || host->troubles.back().end != kNever)
      host->troubles.push_back({trace_.step(), kNever, last_quiet_});
  }
}

void World::end_troubles() {
  for (const auto& host : hosts()) {
    if (!host->troubles.empty() && host->troubles.back().end == kNever && !troubled(host->index)) {
      host->troubles.back().end = trace_.step();
    }
  }
}

bool World::troubled_since(uint32_t index, Step since) const {
  const std::vector<Host::Trouble>& all = hosts_[index]->troubles;
  return !all.empty() && all.back().end >= since;
}

bool World::troubled_between(uint32_t index, Step from, Step to) const {
  const std::vector<Host::Trouble>& all = hosts_[index]->troubles;
  return std::any_of(all.begin(), all.end(), [&](const Host::Trouble& t) { return t.begin <= to && from <= t.end; });
}

void World::note_open(const Process& gateway) {
  Host& host = *hosts_[gateway.host];
  if (host.guest) return;
  const bool late = clock_.now_ms() >= gateway.started_at + settings_.lease_ms;
  if ((gateway.hub->connected() && !late) || host.troubles.empty()) return;
  host.troubles.back().blind = true;
  trace_.line("!! ", gateway.name(), " opens without knowing the others");
}

bool World::blind_at(uint32_t index, Step step) const {
  const std::vector<Host::Trouble>& all = hosts_[index]->troubles;
  return std::any_of(all.begin(), all.end(),
                     [step](const Host::Trouble& t) { return t.blind && t.calm <= step && step <= t.end; });
}

Step World::trouble_begin(uint32_t index) const {
  const std::vector<Host::Trouble>& all = hosts_[index]->troubles;
  return all.empty() || all.back().end != kNever ? kNever : all.back().begin;
}

bool World::routed(uint32_t x, uint32_t y, Step granted, Step handed) const {
  const auto unknown = [&](const Host::Trouble& t) {
    return t.begin <= granted && granted <= t.end && handed <= t.end;
  };
  const auto clear = [&](uint32_t host) {
    return std::none_of(hosts_[host]->troubles.begin(), hosts_[host]->troubles.end(), unknown);
  };
  return clear(x) && clear(y);
}

std::vector<uint32_t> World::workers() const {
  std::vector<uint32_t> out;
  for (uint32_t place = 0; place < slots(); ++place) {
    if (!is_gateway(place) && host_of(place).serves()) out.push_back(place);
  }
  return out;
}

std::string World::residue(size_t retained) const {
  if (!settings_.clustered) return "";
  for (const auto& [client, entry] : redis_.directory()) {
    std::string claims;
    for (const auto& [epoch, key] : entry.claims) claims += text(", claimed by '", key, "' (", epoch, ')');
    return text("the directory has ", client, ", holder '", entry.holder, "' (", entry.held, ')', claims);
  }
  if (redis_.retained_count() != retained) {
    return text(redis_.retained_count(), " retained messages, not ", retained);
  }
  for (const auto& host : hosts()) {
    if (host->gone) continue;
    const Process* gateway = slots_[gateway_of(host->index)];
    for (const auto& [slot, copy] : redis_.nodes().at(gateway->hub->key()).copies) {
      const store::MemoryStore::Disk& disk = disks_[host->index * per_host() + slot];
      for (const auto& [key, value] : copy.records) {
        if (!disk.contains(key)) return text("a record of kind ", key[0], " of ", gateway->label, " slot ", slot);
      }
    }
  }
  return "";
}

std::string World::unrest() const {
  std::string out;
  for (uint32_t place = 0; place < slots(); ++place) {
    const Process* process = slots_[place];
    if (process == nullptr) {
      if (!host_of(place).gone && !host_of(place).buried) out += text("nobody lives in place ", place, "; ");
      continue;
    }
    if (!process->ready) out += text(process->name(), " is not ready; ");
    if (process->wants_turn() || !process->inbox.empty()) out += text(process->name(), " has something to do; ");
    if (process->hub == nullptr) continue;
    if (!process->hub->connected() || !process->hub->idle()) out += text(process->name(), " talks to Redis; ");
    const auto node = redis_.nodes().find(process->hub->key());
    if (node == redis_.nodes().end()) {
      out += text(process->hub->key(), " is not a live node; ");
    } else if (!node->second.inbox.empty()) {
      out += text(process->hub->key(), " has ", node->second.inbox.size(), " entries in its inbox, ",
                  node->second.inbox.front().id, " to ", node->second.inbox.back().id, ", reads behind ",
                  process->hub->reading(), "; ");
    }
  }
  for (const auto& wire : wires_) {
    const bool both_live = wire->sides[0].process->alive && wire->sides[1].process->alive;
    const auto settled = [](const Wire::Side& s) { return !s.process->alive || s.gone; };
    if (both_live ? !wire->quiet() : !settled(wire->sides[0]) || !settled(wire->sides[1])) {
      out += text(wire->sides[0].process->name(), " - ", wire->sides[1].process->name(), " is not quiet; ");
    }
  }
  if (settings_.clustered) out += text(redis_.nodes().size(), " nodes in Redis; ");
  if (!calm()) out += "a host is troubled; ";
  return out;
}

// Gateways that wait for calm wait as long as Redis has it.
bool World::calm() const {
  return clock_.now_ms() >= std::max(calm_since_, redis_.calm_since_ms()) + 2 * settings_.lease_ms;
}

bool World::cluster_quiet() const {
  if (!redis_.is_up() || redis_.full() || !calm()) return false;
  size_t nodes = 0;
  for (const auto& host : hosts_) {
    if (host->gone || host->buried) continue;
    const Process* gateway = slots_[gateway_of(host->index)];
    if (host->partitioned || gateway == nullptr || !gateway->hub->connected() || !gateway->hub->idle()) return false;
    const auto node = redis_.nodes().find(gateway->hub->key());
    if (node == redis_.nodes().end() || !node->second.inbox.empty()) return false;
    ++nodes;
  }
  return nodes == redis_.nodes().size();
}

}  // namespace sim
