// What the parts of one worker's broker share: the outside (Environment), the data structures, and each other.
//
//   clients ──> Publisher ──> TopicTree ──> sessions here ──> clients
//                  │  └─────> SharedDispatch (one member somewhere), RetainedService (its topic's home worker)
//                  └────────> Peers ══ links ══> other workers' Publisher::deliver
//
//   Interest   subscriptions, and telling the peers about them     Claims     CONNECT: directory, pull
//   Sessions   table, expiry, wills                                Takeovers  the cut in every stream
//   Tickets    what a PUBACK waits for                             SysTopics  $SYS
//   Departures what a dead worker leaves behind            Journal    what is written to the store, who waits for it
//   Records    sessions in the store                       Copier     its copy for the other hosts of a cluster
//   Outbox     what waits for a dead worker's replacement  Accepted   QoS 2 messages and wills that must be routed
//   Arrivals   what comes to a replacement at first
//   Gateway    in a cluster, in the last slot: the other hosts
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/framer.h"
#include "shared/base/timer_wheel.h"
#include "shared/bus/message.h"
#include "worker/broker/broker.h"
#include "worker/connection/host.h"
#include "worker/router/topic_tree.h"
#include "worker/session/directory.h"
#include "worker/session/session.h"

namespace connection {
class MqttClient;
}

namespace broker {

class Peers;
class Sessions;
class Interest;
class Publisher;
class SharedDispatch;
class RetainedService;
class Claims;
class Takeovers;
class Tickets;
class ClientTable;
class Departures;
class Journal;
class Copier;
class HostLife;
class Strays;
class Records;
class Outbox;
class Accepted;
class Gateway;

using session::WorkerId;

struct Core {
  explicit Core(Environment environment)
      : env(std::move(environment)),
        config(*env.config),
        mqtt(config.mqtt),
        self{env.slot, env.incarnation},
        slots(config.process_count()),
        homes(config.slot_count()),
        wheel(env.clock->now_ms()),
        session_shared{&mqtt, env.clock, env.page},
        page(env.page) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  base::MonoMs now() const { return env.clock->now_ms(); }
  // The worker that keeps what belongs to this key: a client id's directory entry, a topic's retained message.
  uint32_t home_of(std::string_view key) const;
  uint64_t seen_of(uint64_t origin) const {
    if (origin == self.incarnation) return sequence;
    const auto it = seen.find(origin);
    return it == seen.end() ? 0 : it->second;
  }
  bus::Uid next_uid() { return {self.incarnation, ++sequence}; }

  Environment env;
  const config::Config& config;
  const config::Mqtt& mqtt;
  WorkerId self;
  uint32_t slots;  // processes of the host: workers and, behind them, the gateway if there is one
  uint32_t homes;  // workers
  base::TimerWheel wheel;
  router::TopicTree tree;
  session::Shared session_shared;
  metrics::PageRef page;
  // The slot of the gateway to the other hosts; kNoSlot: there are none.
  static constexpr uint32_t kNoSlot = 0xFFFFFFFF;
  uint32_t gateway_slot() const { return config.clustered() ? homes : kNoSlot; }
  uint64_t sequence = 0;  // of the last message this worker routed
  // By worker process: the last message that came here from it. Dead ones' too, the newest kSeenDead of them.
  std::map<uint64_t, uint64_t> seen;
  static constexpr size_t kSeenDead = 64;
  std::string scratch;  // for building frame bodies

  Peers* peers = nullptr;
  Sessions* sessions = nullptr;
  Interest* interest = nullptr;
  Publisher* publisher = nullptr;
  SharedDispatch* shared = nullptr;
  RetainedService* retained = nullptr;
  Claims* claims = nullptr;
  Takeovers* takeovers = nullptr;
  Tickets* tickets = nullptr;
  ClientTable* clients = nullptr;
  Departures* departures = nullptr;
  Journal* journal = nullptr;
  Copier* copier = nullptr;
  HostLife* life = nullptr;
  Strays* strays = nullptr;
  Records* records = nullptr;
  Outbox* outbox = nullptr;
  Accepted* accepted = nullptr;
  Gateway* gateway = nullptr;  // null in a worker
};

}  // namespace broker
