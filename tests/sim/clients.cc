#include "tests/sim/clients.h"

#include <algorithm>

namespace sim {

Clients::Clients(const Settings& the_settings, World& the_world, Oracle& the_oracle, Trace& the_trace,
                 base::Random& the_random)
    : settings(the_settings), world(the_world), oracle(the_oracle), trace(the_trace), random(the_random) {
  world.flush_clients = [this](Process& process) { end_of_turn(process); };
  world.on_death = [this](Process& process) { on_death(process); };
  world.on_host_death = [this](Host& host) { oracle.host_died(host); };
  world.on_adopted = [this](Host& host) { oracle.host_adopted(host); };
  world.on_redis_lost = [this] { oracle.redis_lost(); };
}

Identity& Clients::add(const Identity::Profile& profile) {
  identities_.emplace_back(static_cast<uint32_t>(identities_.size()), profile, *this);
  return identities_.back();
}

Connection& Clients::open(Identity& identity, Process& process, const Connection::Terms& terms) {
  const auto index = static_cast<uint32_t>(connections_.size());
  connections_.push_back(std::make_unique<Connection>(
      index, identity, process, terms, Connection::Context{oracle, trace, random, settings, world.pool()}));
  oracle.connection_made(*connections_.back());
  return *connections_.back();
}

Process* Clients::any_ready(uint32_t host) const {
  std::vector<Process*> ready;
  for (uint32_t slot = 0; slot < world.slots(); ++slot) {
    Process* process = world.live(slot);
    const bool reachable = world.host_of(slot).serves() && (settings.roaming || world.host_of(slot).index == host);
    if (process != nullptr && process->ready && !process->is_gateway && reachable) ready.push_back(process);
  }
  return ready.empty() ? nullptr : ready[random.below(ready.size())];
}

void Clients::collect(std::vector<Event>& out) const {
  for (const auto& c : connections_) {
    if (c->over() && c->client_closed) continue;
    if (c->can_accept()) out.push_back({EventKind::accept, c->index, 0, 8});
    if (c->can_upload()) out.push_back({EventKind::upload, c->index, 0, 12});
    if (c->can_pump()) out.push_back({EventKind::socket_writable, c->index, 0, 4});
    if (c->can_hang_up()) out.push_back({EventKind::hang_up, c->index, 0, 3});
    if (c->client_closed) continue;
    const bool reads = !(c->owner.paused() && c->owner.current() == c.get());
    if (reads && (c->readable() || c->at_end())) out.push_back({EventKind::download, c->index, 0, 10});
    if (c->owner.owes_acks(*c)) out.push_back({EventKind::acknowledge, c->index, 0, 6});
  }
}

void Clients::collect_deeds(std::vector<Event>& out) const {
  for (const Identity& identity : identities_) out.push_back({EventKind::act, identity.index, 0, 4});
}

void Clients::execute(const Event& event) {
  switch (event.kind) {
    case EventKind::accept:
      return connections_[event.a]->accept();
    case EventKind::upload:
      return connections_[event.a]->upload();
    case EventKind::socket_writable:
      return connections_[event.a]->pump();
    case EventKind::hang_up:
      return connections_[event.a]->hang_up();
    case EventKind::download:
      return connections_[event.a]->owner.download(*connections_[event.a]);
    case EventKind::acknowledge:
      return connections_[event.a]->owner.acknowledge(*connections_[event.a]);
    case EventKind::act:
      return identities_[event.a].act();
    case EventKind::turn:
    case EventKind::hear_peers:
    case EventKind::forget_peer:
    case EventKind::dial:
    case EventKind::establish:
    case EventKind::bus_deliver:
    case EventKind::bus_writable:
    case EventKind::bus_broken:
    case EventKind::pass_time:
    case EventKind::cut:
    case EventKind::kill:
    case EventKind::stop:
    case EventKind::go:
    case EventKind::start:
    case EventKind::hub_connect:
    case EventKind::hub_broken:
    case EventKind::hub_call:
    case EventKind::hub_answer:
    case EventKind::hub_read:
    case EventKind::hub_push:
    case EventKind::hub_cut:
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
      return;  // the world's
  }
}

namespace {

bool is_quiet(const Connection& c) {
  if (c.over() && c.client_closed) return true;
  if (!c.process.runs() && c.process.alive) return false;
  return c.idle() && c.client_closed == c.over() && !c.owner.owes_acks(c);
}

}  // namespace

bool Clients::quiet() const {
  return std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return is_quiet(*c); });
}

std::string Clients::unrest() const {
  std::string out;
  for (const auto& c : connections_) {
    if (!is_quiet(*c)) out += text(c->name(), " is not quiet; ");
  }
  return out;
}

void Clients::end_of_turn(Process& process) {
  for (const auto& c : connections_) {
    if (&c->process == &process && c->accepted()) c->end_of_turn();
  }
}

void Clients::on_death(Process& process) {
  oracle.process_died(process);
  for (const auto& c : connections_) {
    if (&c->process == &process) c->on_worker_death();
  }
}

const std::vector<std::string>& plain_topics() {
  static const std::vector<std::string> topics{"t/0", "t/1", "t/0/x"};
  return topics;
}
const std::vector<std::string>& retained_topics() {
  static const std::vector<std::string> topics{"r/0", "r/1", "r/2"};
  return topics;
}
const std::vector<std::string>& shared_topics() {
  static const std::vector<std::string> topics{"g/0", "g/1"};
  return topics;
}
const std::vector<std::string>& plain_filters() {
  static const std::vector<std::string> filters{"t/0", "t/1", "t/+", "t/#", "+/0/x", "r/+", "w/#"};
  return filters;
}
const std::vector<std::string>& shared_filters() {
  static const std::vector<std::string> filters{"$share/flock/g/+"};
  return filters;
}

}  // namespace sim
