// What one run is made of; drawn from its seed, or set by a scenario.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared/base/random.h"

namespace sim {

struct Faults {
  bool cut = false;        // links break and come back
  bool stop = false;       // workers stand still for a while (SIGSTOP)
  bool death = false;      // workers are killed and replaced
  bool store = false;      // commits fail for a while
  bool clock = false;      // the wall clock is set, forwards and back
  bool late_news = false;  // of a death, to some workers: others know long before
  // --- of a cluster ---
  bool hub = false;         // connections to Redis break; calls and answers are lost
  bool host_cut = false;    // a host is cut off from Redis for a while
  bool host_stop = false;   // a host stands still, maybe past its lease
  bool host_death = false;  // a host dies, and comes back
  bool host_gone = false;   // ... or not
  bool redis_down = false;  // Redis goes away and comes back as it was; or is full for a while
  bool redis_lost = false;  // ... empty, or with an older state
  bool redis_long = false;  // it is away for many leases
};

struct Settings {
  uint64_t seed = 1;
  uint32_t hosts = 1;
  uint32_t workers = 3;    // of each host
  bool clustered = false;  // each host has a gateway, too
  uint32_t lease_ms = 400;
  uint64_t steps = 2000;
  uint32_t clients = 7;
  size_t pipe_capacity = 4096;              // of one direction between two workers
  size_t socket_capacity = 4096;            // of one direction of a client's connection
  size_t chunk = 256;                       // the largest piece delivered at once is drawn up to this
  uint64_t link_credit = 16 * 1024 * 1024;  // broker::Environment, and the next one
  size_t node_batch = 1024 * 1024;
  uint32_t max_queued_messages = 0;  // config::Mqtt, and the next two
  uint64_t max_queued_bytes = 64 * 1024 * 1024;
  bool drop_old = false;
  Faults faults;
  bool racing = true;            // several CONNECTs of one client id at once
  bool durable_members = false;  // of the shared group: always persistent
  bool shared = true;            // shared subscriptions
  bool retained = true;          // retained messages
  bool roaming = true;           // clients connect to any host, not only to their own
  bool strict = false;           // Oracle::strict
  bool trace = false;

  static Settings of_seed(uint64_t seed, uint64_t steps);
  static Settings of_cluster_seed(uint64_t seed, uint64_t steps, uint32_t hosts, uint32_t workers);
};

}  // namespace sim
