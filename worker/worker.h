// One worker process: puts the broker on a loop, with its clients' sockets, the bus to the other workers and the
// control channel of the master. In a cluster the process in the slot behind the workers' is the gateway: the same
// without listeners and without anything to store.
//
// A turn of the loop: sockets, timers and the master have said what they had to say; then, once, in this order,
//
//   store completions -> broker.advance() -> broker.end_of_turn(), which flushes the bus -> clients' sockets are
//   written
//   -> what died is freed
//
// The bus comes first because acknowledgements of messages for other workers are released by what was written to it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shared/base/byte_chain.h"
#include "shared/base/clock.h"
#include "shared/base/random.h"
#include "shared/cluster/lease_file.h"
#include "shared/control/boot.h"
#include "shared/control/channel.h"
#include "shared/log/log.h"
#include "shared/loop/async.h"
#include "shared/loop/hook.h"
#include "shared/loop/loop.h"
#include "shared/loop/signal.h"
#include "shared/loop/timer.h"
#include "shared/metrics/page.h"
#include "shared/redis/redis_hub.h"
#include "shared/store/null_store.h"
#include "shared/store/rocks_store.h"
#include "worker/broker/broker.h"
#include "worker/net/connection_set.h"
#include "worker/net/context.h"
#include "worker/net/listener.h"
#include "worker/net/local_bus.h"

namespace worker {

class Worker final : net::BusEndpoint {
 public:
  // Throws std::exception: the environment is at fault.
  Worker(control::Boot boot, logging::Log& log);
  ~Worker() override;
  // Until a stop is done or the master is gone. Returns the process's exit code.
  int run();

 private:
  // How old a heartbeat may get, and how late a timer of the broker may fire, when nothing else happens.
  static constexpr uint64_t kTickMs = 50;
  static constexpr uint64_t kRefusalsOverMs = 5000;
  // How long a stop waits for clients and peers to take our last bytes.
  static constexpr uint64_t kStopMs = 1000;
  static constexpr int kMaxRounds = 4;
  static constexpr uint64_t kDrainTickMs = 100;

  using Listeners = std::vector<std::unique_ptr<net::Listener>>;

  bool is_gateway() const { return boot_.config.is_gateway(boot_.slot); }
  std::unique_ptr<store::RocksStore> open_store();
  store::Store& store();
  broker::Environment environment();
  void on_ready();
  void tell_nodes(const cluster::Membership& membership, bool calm);
  std::unique_ptr<redis::RedisHub> open_hub();
  // What the store has done since the last time, for the page and the log.
  void note_lease(uint64_t ms);
  void report_store();
  // The same of the hub, for the page.
  void report_hub();
  void report_refusals(const redis::RedisCalls::Counts& now);

  // --- turns ---
  void end_turn();
  void before_wait();

  // --- the master ---
  void on_message(const control::Message& message, std::vector<base::UniqueFd> descriptors);
  void on_terminate();
  void on_peers(const control::Peers& peers);
  void adopt(uint32_t slot, std::vector<base::UniqueFd> descriptors);
  void begin_stop(bool graceful);
  // Graceful: says goodbye to `drain_rate` clients a second, this worker's share of them.
  void drain();
  void finish(int exit_code);

  Listeners make_listeners(uint32_t slot, std::vector<base::UniqueFd> descriptors);
  // The bound of the slot's group, which all its listeners here share.
  net::Quota& quota_of(uint32_t slot);
  static void start(Listeners& listeners);

  // --- net::BusEndpoint: the broker's side of the bus ---
  bus::Link* link(const net::Peer& peer) override;
  bool peer_connected(const net::Peer& peer, uint64_t peer_received) override;
  void peer_disconnected(const net::Peer& peer) override;
  bool peer_bytes(const net::Peer& peer, std::string_view bytes) override;
  void peer_gone(const net::Peer& peer) override;
  bool saturated() const override { return broker_.saturated(); }
  void peer_progress(const net::Peer& peer) override;

  // What is below uses what is above.
  control::Boot boot_;
  logging::Log& log_;
  loop::Loop loop_;
  base::SystemClock clock_;
  base::Random random_;
  base::ChunkPool pool_;
  metrics::Pages pages_;
  metrics::PageRef page_;
  net::Context context_;
  loop::Async wake_;
  std::unique_ptr<store::RocksStore> store_;  // the gateway's is null: it keeps nothing
  store::NullStore null_store_;
  std::unique_ptr<redis::RedisHub> hub_;  // the gateway's only
  const cluster::LeaseFile lease_file_;
  bool lease_noted_ = true;
  redis::RedisHub::Statistics hub_reported_;
  uint64_t refusing_since_ms_ = 0;  // the last error of Redis that refused a call; 0: it takes them
  store::RocksStore::Statistics store_reported_;
  store::Health store_health_ = store::Health::ok;
  std::map<std::string, net::Quota> quotas_;  // by group
  net::ConnectionSet connections_;
  broker::Broker broker_;
  net::LocalBus bus_;
  Listeners listeners_;
  std::map<uint32_t, Listeners> adopted_;  // by slot
  control::Channel channel_;
  loop::Signal terminate_;
  loop::Timer tick_;
  loop::Timer drain_;
  loop::Check check_;
  loop::Prepare prepare_;
  loop::Idle again_;  // runs while there is work left for another turn

  bool stopping_ = false;
  uint64_t stop_deadline_ = 0;
  bool finished_ = false;
  int exit_code_ = 0;
};

}  // namespace worker
