// A host of the simulation: its configuration and clock, and what is wrong with it as a whole. A guest, which goes on
// with the life of a dead host at another one, is a Host, too.
#pragma once

#include <string>
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
  bool gone = false;             // ... and never will
  Step uncopied = 0;             // since when the copies of its workers are not whole; kNever: they are
  Step doubtful = kNever;        // when it died: since when it had done what others do not know of; kNever: nothing
  base::MonoMs until = 0;        // when what is wrong may end
  base::MonoMs started = 0;      // all of it; what the master tells its processes
  uint64_t started_us = 0;       // the same, wall clock
  base::MonoMs lease_until = 0;  // as its gateway has noted: cluster::LeaseFile
  Step lost_lease = 0;  // when its lease had run out last, or another had adopted it, as Redis knows it; 0: never
  std::string adopted;  // the life of it that another has adopted last
  bool adopted_while_down = false;
  bool rose_after_adoption = false;
  std::vector<Trouble> troubles;

  // --- of a guest ---
  bool guest = false;
  uint32_t life_of = 0;   // the host that is dead
  uint32_t guest_of = 0;  // the host that it goes on at
  bool buried = false;    // it has nothing left, or has never begun

  Host(uint32_t host_index, const ManualClock& world_clock, base::MonoMs offset)
      : index(host_index), clock(world_clock, offset) {}
  // Clients find it, now or again.
  bool serves() const { return !gone && !guest; }
};

}  // namespace sim
