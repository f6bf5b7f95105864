// Small directed runs, each in many variants: the variant is the seed and usually the moment of the fault.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/sim/simulation.h"

namespace sim {

struct Scenario {
  const char* name;
  uint64_t variants;
  Settings settings;
  std::function<void(Simulation&, uint64_t variant)> run;
};

const std::vector<Scenario>& scenarios();
// Two hosts with two workers each, whose clients stay with their host: places 0, 1, gateway 2; 3, 4, gateway 5.
Settings two_hosts();
// The same, and clients go from host to host.
Settings roaming_clients();
// Scenarios of several hosts.
const std::vector<Scenario>& cluster_scenarios();
const std::vector<Scenario>& retained_scenarios();
const std::vector<Scenario>& shared_scenarios();
const std::vector<Scenario>& roaming_scenarios();
const std::vector<Scenario>& order_scenarios();
const std::vector<Scenario>& adoption_scenarios();
const std::vector<Scenario>& will_scenarios();

}  // namespace sim
