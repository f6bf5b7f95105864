#include "tests/sim/world.h"

#include <algorithm>

namespace sim {
namespace {

constexpr base::MonoMs kStallMs = 5000;
constexpr uint64_t kWallJump = 86'400'000;  // ms: it is set to a time of one day
constexpr uint32_t kOften = 8;
constexpr uint32_t kUsually = 4;
constexpr uint32_t kAtTimes = 2;
constexpr Step kSnapshotSteps = 300;
constexpr Step kLateSteps = 3000;
constexpr base::MonoMs kBootOffsetMs = 700'001;  // between two hosts

}  // namespace

World::World(const Settings& settings, base::Random& random, Trace& trace)
    : settings_(settings), random_(random), trace_(trace) {
  const uint32_t guests = settings.clustered ? settings.hosts : 0;
  for (uint32_t index = 0; index < settings.hosts + guests; ++index) {
    hosts_.push_back(std::make_unique<Host>(index, clock_, index * kBootOffsetMs));
    Host& host = *hosts_.back();
    host.guest = host.down = host.buried = index >= settings.hosts;
    host.life_of = index % settings.hosts;
    config::Config& config = host.config;
    config::WorkerGroup group;
    group.name = "mqtt";
    group.count = settings.workers;
    if (!host.guest) group.listen.emplace_back();
    config.workers.push_back(group);
    config.mqtt.sys_interval = 0;
    config.mqtt.max_queued_messages = settings.max_queued_messages;
    config.mqtt.max_queued_bytes = settings.max_queued_bytes;
    config.mqtt.queue_full = settings.drop_old ? config::QueueFull::drop_old : config::QueueFull::drop_new;
    if (!settings.clustered) continue;
    config.redis.url = "redis://model";
    config.redis.node_id = text("host", index);
    config.redis.lease = settings.lease_ms / 1000.0;
  }
  slots_.resize(hosts_.size() * hosts_[0]->config.process_count(), nullptr);
  disks_.resize(slots_.size());
  for (uint32_t place = 0; place < slots(); ++place) pages_.push_back(std::make_unique<metrics::Page>());
  for (uint32_t place = 0; place < settings.hosts * per_host(); ++place) start(place);
  redis_.may_adopt = [this](const std::string& key) { return may_be_adopted(key); };
}

World::~World() {
  end();
}

void World::end() {
  for (auto& process : processes_) {
    process->alive = false;
    process->broker.reset();
    process->hub.reset();
  }
}

broker::Environment World::environment(Process& process) {
  broker::Environment e;
  Host& host = *hosts_[process.host];
  e.config = &host.config;
  e.slot = process.id.slot;
  e.incarnation = process.id.incarnation;
  e.clock = &host.clock;
  e.random = &process.random;
  e.pool = &pool_;
  e.store = &process.store;
  e.hub = process.hub.get();
  e.page = page(process.place);
  e.page_of = [this, first = process.host * per_host()](uint32_t slot) { return page(first + slot); };
  if (trace_.keeps_lines()) {
    e.log = [this, &process](int, std::string_view event, std::initializer_list<broker::LogField> fields) {
      std::string line = text(process.name(), " log: ", event);
      for (const broker::LogField& field : fields) line += text(' ', field.key, '=', field.value);
      trace_.line(line);
    };
  }
  e.link_credit = settings_.link_credit;
  e.node_batch = settings_.node_batch;
  e.flush_link = [this, &process](uint32_t, bus::Link& link) { flush_link(process, link); };
  e.on_fenced = [&process] { process.fenced = true; };
  e.adopts = process.is_gateway && !host.guest;
  e.on_buried = [&host] { host.buried = true; };
  e.on_lease = [this, &host](uint64_t ms) { host.lease_until = clock_.now_ms() + ms; };
  if (settings_.clustered && host.lease_until <= host.started) e.unsure_until_us = host.started_us;
  e.on_ready = [this, &process] {
    process.ready = true;
    trace_.line("!! ", process.name(), " is ready");
    if (process.is_gateway) note_open(process);
  };
  return e;
}

void World::start(uint32_t place) {
  const auto index = static_cast<uint32_t>(processes_.size());
  const uint32_t slot = place % per_host();
  const broker::PeerId id{slot, next_incarnation_++};
  store::MemoryStore::Disk* disk = is_gateway(place) ? nullptr : &disks_[place];
  processes_.push_back(std::make_unique<Process>(index, id, random_.next(), disk, settings_.faults.store));
  Process& process = *processes_.back();
  process.host = place / per_host();
  process.place = place;
  process.is_gateway = is_gateway(place);
  process.started_at = clock_.now_ms();
  const Host& host = *hosts_[process.host];
  const std::string of_life = host.guest ? text(host.life_of, '@', host.guest_of) : text(host.index);
  const std::string of_host = hosts_.size() > 1 ? 'h' + of_life : "";
  process.label = of_host + (process.is_gateway ? "g" : text('w', slot));
  if (process.is_gateway) {
    host_of(place).fenced = false;
    process.hub = std::make_unique<ModelHub>(redis_, process.random);
    process.hub->set_partitioned(hosts_[process.host]->partitioned);
  }
  trace_.line("!! ", process.name(), " starts");
  for (const Process* other : slots_) {
    if (other == nullptr || other->host != process.host) continue;
    wires_.push_back(std::make_unique<Wire>(*processes_[other->index], process, settings_.pipe_capacity));
  }
  slots_[place] = &process;
  for (uint32_t g = 0; g < static_cast<uint32_t>(metrics::Gauge::kCount); ++g) {
    page(place).set(static_cast<metrics::Gauge>(g), 0);  // as a worker that starts does
  }
  process.broker = std::make_unique<broker::Broker>(environment(process));
  process.broker->load();
  announce_peers(process.host);
}

void World::announce_peers(uint32_t host) {
  std::vector<broker::PeerId> live;
  for (const Process* process : slots_) {
    if (process != nullptr && process->host == host) live.push_back(process->id);
  }
  for (Process* process : slots_) {
    if (process != nullptr && process->host == host) process->inbox.push_back(live);
  }
}

void World::kill(Process& process) {
  trace_.line("!! ", process.name(), " dies");
  process.alive = false;
  process.ready = false;
  process.died = trace_.step();
  slots_[process.place] = nullptr;
  if (on_death) on_death(process);
  process.broker.reset();
  if (process.hub != nullptr) {
    process.hub->break_off();  // what was on its way may have come there
    process.hub.reset();
  }
  process.store.die();
  process.inbox.clear();
  for (auto& wire : wires_) {
    for (Wire::Side& side : wire->sides) {
      if (side.process != &process) continue;
      side.was_up = side.up;
      side.up = false;
      side.link = nullptr;
      side.in.clear();
      if (settings_.faults.late_news && random_.one_in(3)) {
        wire->sides[&side == &wire->sides[0] ? 1 : 0].forgets_at = trace_.step() + random_.below(kLateSteps);
      }
    }
  }
  announce_peers(process.host);
  note_mourning();
}

void World::note_mourning() {
  const bool mourning = std::any_of(wires_.begin(), wires_.end(), [](const auto& wire) {
    const auto in_grief = [](const Wire::Side& s, const Wire::Side& other) {
      return s.process->alive && !other.process->alive && !s.gone;
    };
    return in_grief(wire->sides[0], wire->sides[1]) || in_grief(wire->sides[1], wire->sides[0]);
  });
  const bool open = !mournings_.empty() && mournings_.back().end == kNever;
  if (mourning && !open) mournings_.push_back({trace_.step(), kNever});
  if (!mourning && open) mournings_.back().end = trace_.step();
}

Step World::end_of_mourning(Step death) const {
  for (const Mourning& m : mournings_) {
    if (m.begin <= death && death <= m.end) return m.end;
  }
  return death;
}

void World::cut(Wire& wire) {
  trace_.line("!! link ", wire.sides[0].process->name(), " - ", wire.sides[1].process->name(), " is cut");
  wire.broken = true;
  for (uint32_t side = 0; side < 2; ++side) {
    Pipe& in = wire.sides[side].in;
    if (in.empty()) continue;
    const size_t keep = random_.below(in.size() + 1);
    if (keep == in.size()) continue;
    in.truncate(keep);
    Wire::Side& sender = wire.other(side);
    sender.lost = true;
    if (sender.link != nullptr) sender.lost_until = sender.link->written();
  }
  if (!wire.sides[0].up && !wire.sides[1].up) wire.reset();
}

void World::pass_time(base::MonoMs ms) {
  clock_.advance(ms);
  if (settings_.faults.clock && random_.one_in(20)) {
    clock_.set_wall(random_.below(kWallJump));
    trace_.line("!! the wall clock is set");
  }
  for (Process* process : slots_) {
    if (process != nullptr) process->dirty = true;
  }
}

Process* World::live(uint32_t place) const {
  return slots_[place];
}

Wire* World::wire(const Process& a, const Process& b, uint32_t& side_of_a) {
  for (auto& wire : wires_) {
    for (uint32_t side = 0; side < 2; ++side) {
      if (wire->sides[side].process == &a && wire->other(side).process == &b) {
        side_of_a = side;
        return wire.get();
      }
    }
  }
  return nullptr;
}

const bus::Link* World::link(const Process& from, const Process& to) {
  uint32_t side = 0;
  const Wire* w = from.alive && to.alive ? wire(from, to, side) : nullptr;
  return w == nullptr ? nullptr : w->sides[side].link;
}

uint64_t World::total(metrics::Counter counter) const {
  uint64_t sum = 0;
  for (uint32_t place = 0; place < slots(); ++place) sum += page(place).get(counter);
  return sum;
}

uint64_t World::total(metrics::Gauge gauge) const {
  uint64_t sum = 0;
  for (uint32_t place = 0; place < slots(); ++place) {
    if (host_of(place).serves()) sum += page(place).get(gauge);
  }
  return sum;
}

bool World::quiet() const {
  for (uint32_t place = 0; place < slots(); ++place) {
    const Process* process = slots_[place];
    if (host_of(place).gone || host_of(place).buried) continue;
    if (process == nullptr || !process->runs() || !process->ready || process->wants_turn() || !process->inbox.empty()) {
      return false;
    }
  }
  if (settings_.clustered && !cluster_quiet()) return false;
  return std::all_of(wires_.begin(), wires_.end(), [](const auto& wire) {
    const bool both_live = wire->sides[0].process->alive && wire->sides[1].process->alive;
    if (both_live) return wire->quiet();
    const auto settled = [](const Wire::Side& s) { return !s.process->alive || s.gone; };
    return settled(wire->sides[0]) && settled(wire->sides[1]);
  });
}

bool World::may_die(const Process& process) const {
  return std::none_of(wires_.begin(), wires_.end(), [&process](const auto& wire) {
    const auto owes = [&process](const Wire::Side& s) { return s.process == &process && s.lost; };
    return wire->sides[0].process->alive && wire->sides[1].process->alive &&
           (owes(wire->sides[0]) || owes(wire->sides[1]));
  });
}

void World::note_quiet() {
  const bool now = quiet();
  if (now) last_quiet_ = trace_.step();
  if (now && settings_.clustered) end_troubles();
}

void World::collect(std::vector<Event>& out) const {
  for (const Process* process : slots_) {
    if (process == nullptr) continue;
    if (process->hub != nullptr) collect_hub(*process, out);
    if (process->stopped) continue;
    if (process->wants_turn()) out.push_back({EventKind::turn, process->index, 0, 3 * kOften});
    if (!process->inbox.empty()) out.push_back({EventKind::hear_peers, process->index, 0, kAtTimes});
  }
  for (const auto& host : hosts_) {
    if (host->fenced && !host->down) out.push_back({EventKind::start, gateway_of(host->index), 0, kAtTimes});
  }
  for (uint32_t i = 0; i < wires_.size(); ++i) collect_wire(i, out);
}

void World::collect_master(std::vector<Event>& out) const {
  for (uint32_t place = 0; place < slots(); ++place) {
    const Process* process = slots_[place];
    const bool down = host_of(place).down || (is_gateway(place) && host_of(place).fenced);
    if (process == nullptr && !down) out.push_back({EventKind::start, place, 0, 1});
    const bool stalled = process != nullptr && process->stopped && clock_.now_ms() > process->stopped_at + kStallMs;
    if (stalled) out.push_back({EventKind::kill, process->index, 0, 1});
  }
  if (settings_.clustered) collect_repairs(out);
}

void World::collect_wire(uint32_t index, std::vector<Event>& out) const {
  const Wire& wire = *wires_[index];
  for (uint32_t side = 0; side < 2; ++side) {
    if (!wire.sides[side].process->runs()) continue;
    if (wire.can_deliver(side)) out.push_back({EventKind::bus_deliver, index, side, kOften});
    if (wire.can_write(side)) out.push_back({EventKind::bus_writable, index, side, kUsually});
    if (wire.can_dial(side)) out.push_back({EventKind::dial, index, side, kAtTimes});
    if (wire.can_establish(side)) out.push_back({EventKind::establish, index, side, kAtTimes});
    if (wire.can_notice(side)) out.push_back({EventKind::bus_broken, index, side, kAtTimes});
    if (wire.can_forget(side) && trace_.step() >= wire.sides[side].forgets_at) {
      out.push_back(
          {EventKind::forget_peer, wire.sides[side].process->index, wire.other(side).process->index, kAtTimes});
    }
  }
}

void World::collect_faults(std::vector<Event>& out) const {
  for (uint32_t slot = 0; slot < slots(); ++slot) {
    const Process* process = slots_[slot];
    if (process == nullptr) continue;
    if (settings_.faults.death && may_die(*process)) {
      out.push_back({EventKind::kill, process->index, 0, process->stopped ? 4U : 2U});
    }
    if (process->stopped) out.push_back({EventKind::go, process->index, 0, 20});
    if (settings_.faults.stop && !process->stopped) out.push_back({EventKind::stop, process->index, 0, 6});
  }
  if (settings_.clustered) collect_cluster_faults(out);
  if (!settings_.faults.cut) return;
  for (uint32_t i = 0; i < wires_.size(); ++i) {
    const Wire& wire = *wires_[i];
    const bool alive = wire.sides[0].process->alive && wire.sides[1].process->alive;
    if (alive && !wire.broken && (wire.sides[0].up || wire.sides[1].up)) out.push_back({EventKind::cut, i, 0, 3});
  }
}

void World::execute(const Event& event) {
  carry_out(event);
  if (!settings_.clustered) return;
  note_troubles();
  if (settings_.faults.redis_lost && trace_.step() % kSnapshotSteps == 0) redis_.take_snapshot();
}

void World::carry_out(const Event& event) {
  switch (event.kind) {
    case EventKind::turn:
      return turn(*processes_[event.a]);
    case EventKind::hear_peers:
      return hear_peers(*processes_[event.a]);
    case EventKind::forget_peer:
      return forget_peer(*processes_[event.a], event.b);
    case EventKind::dial:
      return dial(*wires_[event.a], event.b);
    case EventKind::establish:
      return establish(*wires_[event.a], event.b);
    case EventKind::bus_deliver:
      return deliver(*wires_[event.a], event.b);
    case EventKind::bus_writable:
      return write_more(*wires_[event.a], event.b);
    case EventKind::bus_broken:
      return notice_broken(*wires_[event.a], event.b);
    case EventKind::pass_time:
      return pass_time(event.a);
    case EventKind::cut:
      return cut(*wires_[event.a]);
    case EventKind::kill:
      return kill(*processes_[event.a]);
    case EventKind::stop:
      processes_[event.a]->stopped = true;
      processes_[event.a]->stopped_at = clock_.now_ms();
      return trace_.line("!! ", processes_[event.a]->name(), " stands still");
    case EventKind::go:
      processes_[event.a]->stopped = false;
      return trace_.line("!! ", processes_[event.a]->name(), " goes on");
    case EventKind::start:
      return start(event.a);
    case EventKind::hub_connect:
    case EventKind::hub_broken:
    case EventKind::hub_call:
    case EventKind::hub_answer:
    case EventKind::hub_read:
    case EventKind::hub_push:
    case EventKind::hub_cut:
      return execute_hub(*processes_[event.a], event.kind);
    case EventKind::host_cut:
    case EventKind::host_mend:
    case EventKind::host_slow:
    case EventKind::kill_host:
    case EventKind::host_back:
    case EventKind::stop_host:
    case EventKind::go_host:
    case EventKind::redis_down:
    case EventKind::redis_up:
    case EventKind::redis_empty:
    case EventKind::redis_older:
    case EventKind::redis_full:
    case EventKind::redis_room:
      return execute_cluster(event);
    case EventKind::accept:
    case EventKind::upload:
    case EventKind::download:
    case EventKind::socket_writable:
    case EventKind::hang_up:
    case EventKind::acknowledge:
    case EventKind::act:
      return;  // the clients'
  }
}

}  // namespace sim
