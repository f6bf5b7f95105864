// One process of a host, a worker or its gateway: the real broker core and everything it needs of the outside.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "shared/base/random.h"
#include "tests/sim/model_hub.h"
#include "tests/sim/sim_store.h"
#include "tests/sim/trace.h"
#include "worker/broker/broker.h"

namespace sim {

struct Process {
  uint32_t index = 0;  // in World::processes()
  uint32_t host = 0;
  uint32_t place = 0;  // of the host's slot among those of all hosts
  broker::PeerId id;
  std::string label;  // of its slot
  bool is_gateway = false;
  bool alive = true;
  bool stopped = false;
  base::MonoMs started_at = 0;
  base::MonoMs stopped_at = 0;
  bool ready = false;   // accepts clients
  bool fenced = false;  // of a gateway: its life in the cluster has ended, and so must it
  bool dirty = false;   // was given inputs since its last turn
  Step died = kNever;
  base::Random random;
  store::MemoryStore::Disk memory;  // a gateway's
  SimStore store;
  std::unique_ptr<ModelHub> hub;                  // of a gateway
  std::unique_ptr<broker::Broker> broker;         // null: dead
  std::deque<std::vector<broker::PeerId>> inbox;  // Peers messages on their way from the master

  // `disk` null: what it stores is lost with it.
  Process(uint32_t process_index, broker::PeerId process_id, uint64_t seed, store::MemoryStore::Disk* disk,
          bool store_fails)
      : index(process_index),
        id(process_id),
        random(seed),
        store(random, disk != nullptr ? *disk : memory, store_fails && disk != nullptr) {}
  bool runs() const { return alive && !stopped; }
  // Something is there for its next turn.
  bool wants_turn() const { return dirty || store.pending() || (hub != nullptr && hub->due()); }
  std::string name() const { return text(label, '.', id.incarnation); }
};

}  // namespace sim
