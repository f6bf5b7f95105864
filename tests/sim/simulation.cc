#include "tests/sim/simulation.h"

#include <algorithm>

namespace sim {
namespace {

constexpr uint64_t kPatience = 60'000;   // steps that coming to rest may take
constexpr unsigned kRestfulPauses = 40;  // empty-handed time steps until a quiet host counts as settled
constexpr base::MonoMs kPauseMs = 50;

}  // namespace

Simulation::Simulation(const Settings& settings)
    : settings_(settings),
      trace(settings.trace),
      random(settings.seed),
      world(settings_, random, trace),
      oracle(world, trace),
      clients(settings_, world, oracle, trace, random) {
  oracle.strict = settings_.strict;
}

void Simulation::execute(const Event& event) {
  trace.begin_step();
  trace.mix(static_cast<uint64_t>(event.kind) << 40 | static_cast<uint64_t>(event.a) << 8 | event.b);
  world.execute(event);
  clients.execute(event);
  if (trace.step() % 8 == 0) world.note_quiet();
}

bool Simulation::step(unsigned allowed) {
  events_.clear();
  world.collect(events_);
  clients.collect(events_);
  const bool progress = !events_.empty();
  if ((allowed & kMaster) != 0) world.collect_master(events_);
  if ((allowed & kDeeds) != 0) clients.collect_deeds(events_);
  uint64_t total = 0;
  for (const Event& event : events_) total += event.weight;
  if ((allowed & kFaults) != 0) {
    // Faults are rare whatever else can happen.
    const bool now = random.one_in(60);
    const size_t before = events_.size();
    world.collect_faults(events_);
    if (!now) events_.resize(before);
    if (now && events_.size() > before) {
      events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(before));
      total = 0;
      for (const Event& event : events_) total += event.weight;
    }
  }
  if (events_.empty() || random.one_in(40)) {
    execute({EventKind::pass_time,
             static_cast<uint32_t>(events_.empty() ? world.longest_pause() : 1 + random.below(world.longest_pause()))});
    return progress;
  }
  uint64_t drawn = random.below(total);
  for (const Event& event : events_) {
    if (drawn < event.weight) {
      const Event chosen = event;
      execute(chosen);
      break;
    }
    drawn -= event.weight;
  }
  return progress;
}

void Simulation::steps(uint64_t n) {
  for (; n > 0 && !failed(); --n) step(kProgress);
}

void Simulation::until(const std::function<bool()>& condition, const char* what) {
  for (uint64_t n = 0; !failed() && !condition(); ++n) {
    if (n > kPatience) return trace.fail(text("liveness: never ", what, ": ", world.unrest(), clients.unrest()), {});
    step(kProgress);
  }
}

void Simulation::until_quiet() {
  until([this] { return quiet(); }, "comes to rest");
  if (!failed()) at_rest();
}

void Simulation::at_rest() {
  trace.line("-- at rest");
  world.note_quiet();
  oracle.check_one_live();
  if (!failed()) oracle.check_delivered();
}

void Simulation::run() {
  oracle.durable_members = settings_.durable_members;
  const bool all_at_once = random.one_in(4);
  for (uint32_t i = 0; i < settings_.clients; ++i) {
    Identity::Profile profile;
    profile.id = text("c", i);
    profile.version = random.one_in(3) ? proto::ProtocolVersion::v3_1_1 : proto::ProtocolVersion::v5;
    profile.persistent = !random.one_in(3);
    profile.shares = settings_.shared && !random.one_in(3);
    if (profile.shares && settings_.durable_members) profile.persistent = true;
    profile.qos =
        profile.shares || random.one_in(2) ? proto::QoS::exactly_once : static_cast<proto::QoS>(random.below(3));
    profile.receive_maximum = random.one_in(3) ? static_cast<uint16_t>(1 + random.below(4)) : uint16_t{0};
    profile.host = i % settings_.hosts;
    clients.add(profile);
  }
  if (!all_at_once) until([this] { return world.quiet(); }, "starts");
  uint64_t lull = 0;
  for (uint64_t n = 0; n < settings_.steps && !failed(); ++n) {
    if (lull == 0 && random.one_in(250)) lull = 400;
    if (lull == 0) {
      step(kMaster | kDeeds | kFaults);
      continue;
    }
    --lull;
    if (!step(kMaster)) lull = 0;
    if (quiet()) {
      at_rest();
      lull = 0;
    }
  }
  finish();
}

void Simulation::finish() {
  heal();
  settle();
  if (!failed()) oracle.check_answered();
  if (!failed()) oracle.check_delivered();
  bring_back();
  if (!failed()) oracle.check_answered();
  if (!failed()) oracle.check_delivered();
  if (!failed()) oracle.check_groups();
  if (!failed() && settings_.retained) probe_retained();
  if (!failed()) leave();
  if (!failed()) check_empty();
}

void Simulation::heal() {
  trace.line("!! everything heals");
  for (const auto& process : world.processes()) {
    if (process->alive && process->stopped) world.execute({EventKind::go, process->index});
    if (process->alive) process->store.heal();
  }
  world.heal_cluster();
  for (uint32_t place = 0; place < world.slots(); ++place) {
    if (world.live(place) == nullptr && !world.host_of(place).down) world.start(place);
  }
  for (const auto& wire : world.wires()) {
    for (Wire::Side& side : wire->sides) side.held = false;
  }
  for (const auto& connection : clients.connections()) connection->held = false;
  for (Identity& identity : clients.identities()) identity.set_paused(false);
}

// Until nothing is under way, and a while longer: what only a timer could bring about comes about, too.
void Simulation::settle() {
  unsigned pauses = 0;
  for (uint64_t n = 0; !failed() && pauses < kRestfulPauses; ++n) {
    if (n > kPatience) return trace.fail(text("liveness: never comes to rest: ", world.unrest(), clients.unrest()), {});
    if (quiet()) {
      if (pauses++ == 0) at_rest();
      trace.begin_step();
      world.pass_time(kPauseMs);
    }
    step(kProgress);
  }
}

// Offline sessions come back and get what is theirs.
void Simulation::bring_back() {
  for (Identity& identity : clients.identities()) {
    if (failed()) return;
    if (identity.current() != nullptr || !identity.profile().persistent) continue;
    identity.connect(*clients.any_ready(identity.profile().host), {});
  }
  settle();
}

void Simulation::probe_retained() {
  std::vector<Identity*> probes;
  for (const uint32_t place : world.workers()) {
    Identity::Profile profile;
    profile.id = text("probe", place);
    profile.persistent = false;
    profile.host = world.host_of(place).index;
    probes.push_back(&clients.add(profile));
    probes.back()->connect(*world.live(place), {true, false, false});
  }
  settle();
  for (Identity* probe : probes) {
    if (probe->current() == nullptr) return trace.fail("a probe is not accepted", {probe->name()});
    probe->subscribe({"r/#"});
  }
  settle();
  std::vector<std::map<std::string, std::string>> seen;
  for (const Identity* probe : probes) seen.push_back(probe->retained_seen());
  oracle.check_retained(seen);
}

// Everybody ends its session.
void Simulation::leave() {
  for (Identity& identity : clients.identities()) {
    const std::vector<Connection*> open(identity.connections().begin(), identity.connections().end());
    identity.connect(*clients.any_ready(identity.profile().host), {true, false, false});
  }
  settle();
  for (Identity& identity : clients.identities()) {
    if (failed()) return;
    if (identity.current() == nullptr) return trace.fail("liveness: not accepted in peace", {identity.name()});
    identity.disconnect();
  }
  settle();
}

void Simulation::check_empty() {
  using metrics::Gauge;
  const auto empty = [this](Gauge gauge, uint64_t expected = 0) {
    const uint64_t value = world.total(gauge);
    if (value != expected) {
      trace.fail(text("left behind: ", metrics::name(gauge), " = ", static_cast<int64_t>(value), ", not ", expected),
                 {});
    }
  };
  for (const Gauge gauge : {Gauge::connections, Gauge::clients_connected, Gauge::sessions, Gauge::subscriptions,
                            Gauge::shared_subscriptions, Gauge::queued_messages, Gauge::queued_bytes,
                            Gauge::inflight_messages, Gauge::bus_waiting_bytes, Gauge::send_buffer_bytes}) {
    if (gauge != Gauge::connections) empty(gauge);  // who counts TCP connections is the listener
  }
  const std::string probe = text("probe", world.workers().front());
  uint64_t retained = 0;
  for (const Identity& identity : clients.identities()) {
    if (identity.name() == probe) retained = identity.retained_seen().size();
  }
  const auto with_a_copy =
      std::count_if(world.hosts().begin(), world.hosts().end(), [](const auto& host) { return !host->gone; });
  empty(Gauge::retained_messages, retained * static_cast<uint64_t>(with_a_copy));
  if (retained == 0) empty(Gauge::retained_bytes);
  for (const uint32_t place : world.workers()) {
    const size_t count = world.live(place)->broker->client_count();
    if (count != 0) trace.fail(text("left behind: slot ", place, " has ", count, " clients"), {});
  }
  if (world.total(metrics::Counter::protocol_errors) != 0) trace.fail("somebody was told of a protocol error", {});
  const std::string residue = world.residue(retained);
  if (!residue.empty()) trace.fail(text("left behind in Redis: ", residue), {});
}

}  // namespace sim
