// A host of the simulation: its configuration and clock, and what is wrong with it as a whole.
#pragma once

#include <vector>

#include "shared/config/config.h"
#include "tests/sim/manual_clock.h"
#include "tests/sim/trace.h"

namespace sim {

struct Host {
  struct Trouble {
    Step begin = 0;
    Step end = kNever;   // everything had come to rest again
    Step calm = 0;       // when everything had been at rest last
    bool blind = false;  // a gateway opened without knowing what the other hosts want
  };

  uint32_t index = 0;
  config::Config config;
  HostClock clock;
  bool partitioned = false;
  bool slow = false;
  bool fenced = false;           // its gateway has ended itself, and another is to begin
  bool paused = false;           // all of it stands still
  bool down = false;             // nothing of it runs
  bool gone = false;             // ... and never will, but as a guest of another host
  uint32_t guest_of = 0;         // ... which is this one
  bool buried = false;           // ... until it had nothing left
  Step uncopied = 0;             // since when the copies of its workers are not whole; kNever: they are
  base::MonoMs until = 0;        // when what is wrong may end
  base::MonoMs started = 0;      // all of it; what the master tells its processes
  uint64_t started_us = 0;       // the same, wall clock
  base::MonoMs lease_until = 0;  // as its gateway has noted: cluster::LeaseFile
  Step lost_lease = 0;  // when its lease had run out last, or another had adopted it, as Redis knows it; 0: never
  std::string adopted;  // the life of it that another has adopted last
  std::vector<Trouble> troubles;

  Host(uint32_t host_index, const ManualClock& world_clock, base::MonoMs offset)
      : index(host_index), clock(world_clock, offset) {}
};

}  // namespace sim
