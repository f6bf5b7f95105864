// What a worker process is born with: descriptors inherited from the master and the boot record that describes them.
//
// The master execs itself with argv[0] = "mqtt-master: worker mqtt/0" (or "mqtt-master: gateway") and the environment
// variable MQTT_MASTER_BOOT = <descriptor of a sealed memfd holding the boot record as JSON>. A record of another
// version is refused (exit code kExitFatal): the master replaces binary and record together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/config/config.h"

namespace control {

inline constexpr int kBootVersion = 1;
inline constexpr int kExitFatal = 2;   // "fatal, do not respawn" (nginx's contract)
inline constexpr int kExitFenced = 3;  // a gateway whose place in the cluster is not its own any more: begin another

struct ListeningSocket {
  base::UniqueFd fd;  // bound, listening, non-blocking, SO_REUSEPORT
  config::Listen listen;
};

// When the host's processes were begun, all of them: its master's start.
struct HostStart {
  uint64_t boottime_ms = 0;  // 0: not known
  uint64_t wall_us = 0;
};

struct Boot {
  config::Config config;
  uint32_t slot = 0;         // 0 .. config.process_count()-1; in a cluster the last is the gateway's
  uint64_t incarnation = 0;  // grows with every start of any worker on this host; never reused by this master
  base::UniqueFd control;    // the master's end of a SOCK_SEQPACKET socketpair, see messages.h
  base::UniqueFd metrics;    // memfd with the pages of all slots, see shared/metrics/page.h
  base::UniqueFd lock;       // the instance lock's descriptor; held open, never used
  std::vector<ListeningSocket> listeners;
  HostStart host_start;
};

// Reads MQTT_MASTER_BOOT. nullopt: the variable is not set, so this process is no worker. Exits with kExitFatal and a
// message on stderr if the record is unreadable.
std::optional<Boot> take_boot_record();

}  // namespace control
