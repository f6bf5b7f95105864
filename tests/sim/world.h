// The hosts: slots and their processes, who knows of whom, the wires between them, and what goes wrong with them.
// Plays the master of each host (Peers messages, replacements) and the carrier of the links. In a cluster every host
// has a gateway, in its last slot, and Redis is there (world_cluster.cc). A slot is named by its place among those of
// all hosts.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "shared/config/config.h"
#include "tests/sim/event.h"
#include "tests/sim/host.h"
#include "tests/sim/manual_clock.h"
#include "tests/sim/process.h"
#include "tests/sim/settings.h"
#include "tests/sim/trace.h"
#include "tests/sim/wire.h"

namespace sim {

class World {
 public:
  World(const Settings& settings, base::Random& random, Trace& trace);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Called in a turn, when the broker is done: write what waits for the clients.
  std::function<void(Process&)> flush_clients;
  // Called when a process has just died; its broker still exists, but nothing of it is carried any more.
  std::function<void(Process&)> on_death;
  // All processes of the host have died.
  std::function<void(Host&)> on_host_death;
  // Another has adopted what the host has.
  std::function<void(Host&)> on_adopted;
  // Redis has come back empty or with an older state.
  std::function<void()> on_redis_lost;

  // --- events ---
  // Appends what can happen next without anything going wrong.
  void collect(std::vector<Event>& out) const;
  // What the master does by itself: it replaces the dead and kills the stalled.
  void collect_master(std::vector<Event>& out) const;
  void collect_faults(std::vector<Event>& out) const;
  // REQUIRES: one of the events above, or `start` for a slot without a live process.
  void execute(const Event& event);

  void start(uint32_t place);
  void kill(Process& process);
  void cut(Wire& wire);
  void pass_time(base::MonoMs ms);
  // The longest time that passes at once.
  base::MonoMs longest_pause() const;
  // Ends all processes; call it while the clients' connections still exist.
  void end();

  // --- looking ---
  base::MonoMs now_ms() const { return clock_.now_ms(); }
  base::ChunkPool& pool() { return pool_; }
  const std::vector<std::unique_ptr<Process>>& processes() const { return processes_; }
  const std::vector<std::unique_ptr<Wire>>& wires() const { return wires_; }
  Process& process(uint32_t index) { return *processes_[index]; }
  Process* live(uint32_t place) const;  // null: nobody lives there now
  Wire* wire(const Process& a, const Process& b, uint32_t& side_of_a);
  // The first one's end of the stream between two live processes that are or were connected; null: never.
  const bus::Link* link(const Process& from, const Process& to);
  uint32_t slots() const { return static_cast<uint32_t>(slots_.size()); }
  uint32_t per_host() const { return slots() / static_cast<uint32_t>(hosts_.size()); }
  Host& host_of(uint32_t place) const { return *hosts_[place / per_host()]; }
  // The places of the workers of all hosts that clients find.
  std::vector<uint32_t> workers() const;
  bool is_gateway(uint32_t place) const { return settings_.clustered && (place + 1) % per_host() == 0; }
  uint32_t gateway_of(uint32_t host) const { return (host + 1) * per_host() - 1; }
  metrics::PageRef page(uint32_t place) const { return metrics::PageRef(pages_[place].get()); }
  uint64_t total(metrics::Counter counter) const;
  uint64_t total(metrics::Gauge gauge) const;
  // A real socket loses nothing that was written to it; a cut does, until it is sent again. Dying in between would be
  // two faults in one, which no contract speaks of.
  bool may_die(const Process& process) const;
  // Nothing is under way between workers, nobody stands still, is missing or has something to do.
  bool quiet() const;
  // What keeps it from being quiet, for a message.
  std::string unrest() const;
  // The last step before now at which quiet() held (checked now and then, so it may have held later than it says).
  Step last_quiet() const { return last_quiet_; }
  void note_quiet();

  // --- a cluster ---
  // Without guests.
  std::span<const std::unique_ptr<Host>> hosts() const { return {hosts_.data(), settings_.hosts}; }
  Host& host(uint32_t index) { return *hosts_[index]; }
  RedisModel& redis() { return redis_; }
  void kill_host(uint32_t host, bool for_good);
  void set_partitioned(uint32_t host, bool partitioned);
  // What is in Redis though nothing needs it any more, when no session is left and that many retained messages.
  std::string residue(size_t retained) const;
  // Redis, the way to it and all hosts are as they should be again (but for hosts that are gone for good).
  void heal_cluster();
  // Something is wrong now between this host and the others.
  bool troubled(uint32_t host) const;
  // ... or was since then; a trouble lasts until everything has come to rest.
  bool troubled_since(uint32_t host, Step since) const;
  bool troubled_between(uint32_t host, Step from, Step to) const;
  // ... and its gateway opened without knowing what other hosts want.
  bool blind_at(uint32_t host, Step step) const;
  // Since when it has been troubled without a break; kNever: it is not.
  Step trouble_begin(uint32_t host) const;
  // A subscription that was granted at `granted` on host `y` is known by a message's host `x` when it is handed over.
  bool routed(uint32_t x, uint32_t y, Step granted, Step handed) const;

  // When everybody had noticed that death (and those in the meantime): until then workers may still route to the dead.
  Step end_of_mourning(Step death) const;

 private:
  struct Mourning {
    Step begin = 0;
    Step end = kNever;
  };
  void note_mourning();
  void carry_out(const Event& event);
  void turn(Process& process);
  void hear_peers(Process& process);
  void forget_peer(Process& process, uint32_t dead);
  void dial(Wire& wire, uint32_t side);
  void establish(Wire& wire, uint32_t side);
  void deliver(Wire& wire, uint32_t side);
  void write_more(Wire& wire, uint32_t side);
  void notice_broken(Wire& wire, uint32_t side);
  size_t write(Wire& wire, uint32_t side);
  void flush_link(Process& process, bus::Link& link);
  void announce_peers(uint32_t host);
  broker::Environment environment(Process& process);
  bool may_die(const Host& host) const;
  base::MonoMs some_time();
  base::MonoMs a_long_time();
  void revive_host(uint32_t host);
  void pause_host(uint32_t host, bool paused);
  void note_troubles();
  void end_troubles();
  void note_lease(Host& host);
  void note_copies(Host& host);
  bool may_be_adopted(const std::string& key) const;
  // A node of a dead host goes on at another one when that has adopted it, and ends when it has nothing left.
  void look_for_guest(Host& guest);
  void run_guest(Host& guest);
  void begin_guest(Host& guest, const std::string& key, const RedisModel::Node& node);
  void end_processes(Host& host);
  void note_open(const Process& gateway);
  bool cluster_quiet() const;
  bool calm() const;
  void collect_hub(const Process& process, std::vector<Event>& out) const;
  void collect_repairs(std::vector<Event>& out) const;
  void collect_cluster_faults(std::vector<Event>& out) const;
  void execute_hub(Process& process, EventKind kind);
  void execute_cluster(const Event& event);
  void collect_wire(uint32_t index, std::vector<Event>& out) const;

  const Settings& settings_;
  base::Random& random_;
  Trace& trace_;
  ManualClock clock_;
  base::ChunkPool pool_;
  RedisModel redis_{clock_};
  base::MonoMs redis_until_ = 0;  // when what is wrong with it may end
  base::MonoMs calm_since_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;  // in a cluster those behind settings_.hosts are their guests
  std::vector<std::unique_ptr<metrics::Page>> pages_;
  std::vector<store::MemoryStore::Disk> disks_;  // by place
  std::vector<Process*> slots_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<std::unique_ptr<Wire>> wires_;
  uint64_t next_incarnation_ = 1001;
  Step last_quiet_ = 0;
  std::vector<Mourning> mournings_;
};

}  // namespace sim
