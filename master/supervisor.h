// The policy of supervision, and nothing else: events in, actions out. Reads time from its clock, does no I/O.
//
//              Spawn                  on_ready
//   down ───────────────> starting ───────────> ready
//    ^                        │                   │
//    └──────── on_exit ───────┴───────────────────┘        each of them with a process may be `stopping` as well
//
// - A dead worker is replaced at once; one that keeps dying soon after its start waits longer each time (back-off).
// - Stuck is dead: a ready worker whose heartbeat is too old is killed, as is one that never gets ready. One that loads
//   its store may take as long as its heart beats.
// - While a slot has no accepting worker for longer than `adopt_after_ms`, a ready worker accepts on its sockets.
// - While starting up (until every slot was ready once), a worker that exits with kExitFatal, or that keeps failing
//   before it is ready, ends the master. Later it is tried again, slowly.
// - A stop asks, then kills. Asked a second time it kills at once. The gateway is asked when the workers are gone: it
//   carries their last words.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "shared/base/clock.h"
#include "shared/control/messages.h"

namespace master {

struct Policy {
  uint64_t stop_timeout_ms = 2000;
  uint64_t drain_timeout_ms = 30000;
  uint64_t stall_timeout_ms = 5000;
  uint64_t ready_timeout_ms = 30000;
  uint64_t short_life_ms = 2000;  // a death before this age counts towards the back-off; older ones are rare enough
  uint64_t backoff_first_ms = 100;
  uint64_t backoff_max_ms = 5000;
  uint64_t adopt_after_ms = 100;
  uint64_t channel_grace_ms = 500;  // from the loss of the control channel to KILL: a process that exits loses it too
  uint32_t start_attempts = 5;      // while starting up: deaths of a slot before it was ever ready
  uint64_t last_incarnation = 0;    // the highest that may have been given before; IncarnationFile
  std::optional<uint32_t>
      host_tag;  // in a cluster: what tells our incarnations from other hosts'; below 2^kHostTagBits
};
inline constexpr uint32_t kHostTagBits = 10;

struct SlotInfo {
  uint32_t group = 0;
  bool shared_socket = false;  // all workers of the group accept on one socket
  bool gateway = false;        // accepts nobody, stops last
};

enum class SlotState : uint8_t { down, starting, ready, stopping };

// How a process ended: an exit code, or a signal (then `signal` is not 0).
struct ExitStatus {
  int code = 0;
  int signal = 0;
};
// It has ended on purpose, to be replaced: no failure.
bool is_fenced(ExitStatus status);

struct Heartbeat {
  uint64_t incarnation = 0;
  base::MonoMs at_ms = 0;
  bool loading = false;  // it opens and loads its store
};

// --- actions, to be carried out in order ---
// Start a process, then call on_spawned() or on_exit() at once.
struct Spawn {
  uint32_t slot;
  uint64_t incarnation;
  bool operator==(const Spawn&) const = default;
};
struct Kill {
  uint32_t slot;
  pid_t pid;
  int signal;
  bool operator==(const Kill&) const = default;
};
// Send peers() to every live worker.
struct SendPeers {
  bool operator==(const SendPeers&) const = default;
};
struct SendStop {
  uint32_t slot;
  bool graceful;
  bool operator==(const SendStop&) const = default;
};
struct SendAdopt {
  uint32_t slot;
  uint32_t by;
  bool operator==(const SendAdopt&) const = default;
};
struct SendUnadopt {
  uint32_t slot;
  uint32_t by;
  bool operator==(const SendUnadopt&) const = default;
};
// Every slot has been ready.
struct StartedUp {
  bool operator==(const StartedUp&) const = default;
};
// Say it in the log.
struct Report {
  bool error;  // or else a warning
  uint32_t slot;
  std::string event;
  bool operator==(const Report&) const = default;
};
// No child is left.
struct Exit {
  int code;
  bool operator==(const Exit&) const = default;
};
using Action = std::variant<Spawn, Kill, SendPeers, SendStop, SendAdopt, SendUnadopt, StartedUp, Report, Exit>;
using Actions = std::vector<Action>;

class Supervisor {
 public:
  Supervisor(const Policy& policy, std::vector<SlotInfo> slots, const base::Clock& clock);

  Actions start();
  Actions on_spawned(uint32_t slot, pid_t pid);
  // A message of another incarnation than the slot's is ignored.
  Actions on_ready(uint32_t slot, uint64_t incarnation);
  // The slot's process has been reaped, or could not be started.
  Actions on_exit(uint32_t slot, ExitStatus status);
  // The process has closed its end of the control channel, or sent what is no message.
  void on_channel_lost(uint32_t slot);
  // To be called about every 50 ms with the slots' heartbeats, in slot order.
  Actions on_tick(std::span<const Heartbeat> heartbeats);
  Actions on_stop(bool graceful);

  // The live processes, for the bus.
  control::Peers peers() const;
  SlotState state(uint32_t slot) const { return slots_[slot].state; }
  pid_t pid(uint32_t slot) const { return slots_[slot].pid; }
  uint64_t incarnation(uint32_t slot) const { return slots_[slot].incarnation; }
  uint32_t restarts(uint32_t slot) const { return slots_[slot].exits; }
  uint32_t slot_count() const { return static_cast<uint32_t>(slots_.size()); }
  bool all_ready() const;
  bool stopping() const { return stopping_; }

 private:
  struct Slot {
    SlotInfo info;
    SlotState state = SlotState::down;
    pid_t pid = 0;  // 0: no process
    uint64_t incarnation = 0;
    base::MonoMs spawned_at = 0;
    base::MonoMs loading_at = 0;  // the last heartbeat that said so
    base::MonoMs ready_at = 0;
    base::MonoMs down_since = 0;       // since when nobody accepts in this slot
    base::MonoMs respawn_at = 0;       // while down
    base::MonoMs kill_at = 0;          // while stopping
    base::MonoMs channel_lost_at = 0;  // 0: it is there
    uint32_t short_lives = 0;          // deaths in a row, each soon after its start
    uint32_t failed_starts = 0;        // deaths in a row before being ready
    uint32_t exits = 0;
    bool killed = false;     // a KILL is on its way
    bool was_ready = false;  // ever
    std::optional<uint32_t> adopter;
  };

  uint64_t next_incarnation();
  void spawn(uint32_t slot, Actions& actions);
  void schedule_respawn(Slot& slot, ExitStatus status, Actions& actions);
  uint64_t backoff_ms(uint32_t short_lives) const;
  bool gives_up(const Slot& slot, ExitStatus status) const;
  void kill(uint32_t slot, const char* why, Actions& actions);
  void stop_slot(uint32_t slot, bool graceful, Actions& actions);
  // Once no worker is left.
  void stop_gateway(Actions& actions);
  void judge(uint32_t slot, const Heartbeat& heartbeat, Actions& actions);
  void adopt(uint32_t slot, Actions& actions);
  void release(uint32_t slot, Actions& actions);
  std::optional<uint32_t> find_adopter(uint32_t slot) const;
  void finish_if_all_gone(Actions& actions);

  Policy policy_;
  const base::Clock& clock_;
  std::vector<Slot> slots_;
  uint64_t last_incarnation_us_ = 0;
  bool started_up_ = false;
  bool stopping_ = false;
  bool exited_ = false;
  int exit_code_ = 0;
  base::MonoMs last_tick_ = 0;
  base::MonoMs judge_since_ = 0;  // heartbeats are not expected to be younger than this
};

std::string_view name(SlotState state);

}  // namespace master
