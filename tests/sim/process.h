// One worker process: the real broker core and everything it needs of the outside.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "shared/base/random.h"
#include "tests/sim/sim_store.h"
#include "tests/sim/trace.h"
#include "worker/broker/broker.h"

namespace sim {

struct Process {
  uint32_t index = 0;  // in World::processes()
  broker::PeerId id;
  bool alive = true;
  bool stopped = false;
  base::MonoMs stopped_at = 0;
  bool ready = false;  // accepts clients
  bool dirty = false;  // was given inputs since its last turn
  Step died = kNever;
  base::Random random;
  SimStore store;
  std::unique_ptr<broker::Broker> broker;         // null: dead
  std::deque<std::vector<broker::PeerId>> inbox;  // Peers messages on their way from the master

  Process(uint32_t process_index, broker::PeerId process_id, uint64_t seed, store::MemoryStore::Disk& disk,
          bool store_fails)
      : index(process_index), id(process_id), random(seed), store(random, disk, store_fails) {}
  bool runs() const { return alive && !stopped; }
  std::string name() const { return text("w", id.slot, ".", id.incarnation); }
};

}  // namespace sim
