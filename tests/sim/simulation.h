// One run: a world, clients, an oracle, and the scheduler that draws what happens next.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/sim/clients.h"

namespace sim {

class Simulation {
 public:
  explicit Simulation(const Settings& settings);
  ~Simulation() { world.end(); }

  // The random run of a seed: deeds and faults, then everything heals and is checked.
  void run();

  // --- for scenarios ---
  // Lets anything but deeds and faults happen, in random order, for that many steps (or until nothing can).
  void steps(uint64_t n);
  // ... until `condition`; a failure if that takes too long.
  void until(const std::function<bool()>& condition, const char* what);
  void until_quiet();
  // Heals everything, lets it come to rest, and checks all that must be true then: the end of every run.
  void finish();

  Identity& client(const Identity::Profile& profile) { return clients.add(profile); }
  Process& worker(uint32_t slot) { return *world.live(slot); }
  bool failed() const { return trace.failed(); }

 private:
  Settings settings_;

 public:
  Trace trace;
  base::Random random;
  World world;
  Oracle oracle;
  Clients clients;

 private:
  enum Allowed : uint8_t { kProgress = 0, kDeeds = 1, kFaults = 2, kMaster = 4 };
  // False: nothing was left to do but letting time pass.
  bool step(unsigned allowed);
  void execute(const Event& event);
  bool quiet() const { return world.quiet() && clients.quiet(); }
  void at_rest();  // a quiet moment: what is owed must be there

  void heal();
  void settle();
  void bring_back();
  void probe_retained();
  void leave();
  void check_empty();

  std::vector<Event> events_;
  unsigned idle_steps_ = 0;
};

}  // namespace sim
