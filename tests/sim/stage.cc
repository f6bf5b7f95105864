#include "tests/sim/stage.h"

namespace sim {

Stage::Stage(Simulation& simulation) : s_(simulation) {
  s_.until([this] { return s_.world.quiet(); }, "starts");
}

Identity& Stage::operator[](const std::string& name) {
  return *clients_.at(name);
}

Identity& Stage::join(const std::string& name, uint64_t slot, const std::vector<std::string>& filters,
                      bool persistent) {
  Identity::Profile profile;
  profile.id = name;
  profile.persistent = persistent;
  profile.host = s_.world.host_of(static_cast<uint32_t>(slot)).index;
  profile.shares = !filters.empty() && filters[0].starts_with('$');
  Identity& identity = s_.client(profile);
  clients_[name] = &identity;
  connect(name, slot);
  s_.until([&] { return identity.current() != nullptr; }, "connects");
  if (!filters.empty() && !s_.failed()) {
    identity.subscribe(filters);
    s_.until([this] { return s_.clients.quiet(); }, "subscribes");
  }
  return identity;
}

void Stage::connect(const std::string& name, uint64_t slot) {
  Process* process = s_.world.live(static_cast<uint32_t>(slot));
  if (s_.failed() || process == nullptr || !process->ready) return;
  Identity& identity = *clients_.at(name);
  identity.connect(*process, {!identity.profile().persistent, identity.profile().persistent, false});
}

void Stage::publish_all(const std::string& name, const std::string& topic) {
  Identity& identity = *clients_.at(name);
  for (const proto::QoS qos : {proto::QoS::at_most_once, proto::QoS::at_least_once, proto::QoS::exactly_once}) {
    if (!s_.failed() && identity.current() != nullptr && identity.current()->can_write()) identity.publish(topic, qos);
  }
}

void Stage::kill(uint64_t slot) {
  Process* process = s_.world.live(static_cast<uint32_t>(slot));
  if (!s_.failed() && process != nullptr) s_.world.kill(*process);
}

void Stage::stop(uint64_t slot) {
  Process* process = s_.world.live(static_cast<uint32_t>(slot));
  if (!s_.failed() && process != nullptr) s_.world.execute({EventKind::stop, process->index});
}

Wire* Stage::wire(uint64_t a, uint64_t b, uint32_t& side_of_a) {
  const Process* from = s_.world.live(static_cast<uint32_t>(a));
  const Process* to = s_.world.live(static_cast<uint32_t>(b));
  return from == nullptr || to == nullptr || a == b ? nullptr : s_.world.wire(*from, *to, side_of_a);
}

void Stage::hang_disk(uint64_t slot) {
  if (Process* process = s_.world.live(static_cast<uint32_t>(slot))) process->store.hang(UINT64_MAX);
}

void Stage::cut(uint64_t a, uint64_t b) {
  uint32_t side = 0;
  if (Wire* w = wire(a, b, side); w != nullptr && !s_.failed()) s_.world.cut(*w);
}

void Stage::cut_hub(uint64_t host) {
  Process* gateway = s_.world.live(s_.world.gateway_of(static_cast<uint32_t>(host)));
  if (!s_.failed() && gateway != nullptr) s_.world.execute({EventKind::hub_cut, gateway->index});
}

void Stage::hold(uint64_t writer, uint64_t reader, bool held) {
  uint32_t side = 0;
  if (Wire* w = wire(reader, writer, side); w != nullptr) w->sides[side].held = held;
}

void Stage::delay_news(uint64_t dying, uint64_t mourner, uint64_t steps) {
  uint32_t side = 0;
  if (Wire* w = wire(mourner, dying, side); w != nullptr) w->sides[side].forgets_at = s_.trace.step() + steps;
}

}  // namespace sim
