// What `status` shows: a value the master fills, its JSON on the control socket, and Workerman's tables. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace master {

struct WorkerStatus {
  std::string name;       // "mqtt/0"
  std::string listening;  // the first address, and how many more
  std::string state;      // "ready", "starting", ...
  int64_t pid = 0;        // 0: no process
  uint64_t memory = 0;    // resident bytes
  uint64_t connections = 0;
  uint64_t requests = 0;  // packets received since the master started
  uint64_t qps = 0;       // in the last second
  uint64_t clients = 0;
  uint64_t sessions = 0;
  uint64_t subscriptions = 0;
  bool busy = false;
  std::string store = "ok";  // or "full", "failing"
  uint64_t store_bytes = 0;  // on disk
  bool operator==(const WorkerStatus&) const = default;
};

// How often the processes of a group ended in one way.
struct ExitCount {
  std::string group;
  std::string status;  // "exit 1", "signal 9"
  uint64_t count = 0;
  bool operator==(const ExitCount&) const = default;
};

// What reaches the other hosts now.
enum class FanOut : uint8_t {
  none,        // this host is by itself, as configured
  redis_down,  // this host is by itself for want of Redis, or has no gateway
  joining,     // not every live host has told what it wants
  up,
};
std::string_view name(FanOut fan_out);  // "redis down"

// A host of the cluster.
struct NodeStatus {
  std::string key;
  uint64_t lease_ms = 0;  // what is left of it
  std::string adopter;    // who takes over what it had; empty: nobody
  bool operator==(const NodeStatus&) const = default;
};

struct ClusterStatus {
  std::string node_id;  // empty: this host is by itself, as configured
  std::string redis;    // its URL, without the password
  std::string state;    // name(FanOut)
  bool ready = false;   // FanOut::up
  // Redis has all that this host has acknowledged: copies of what its workers store, and their retained messages. While
  // it has not, the host's death for good may lose some (its restart does not).
  bool copied = false;
  uint64_t lease_ms = 0;
  uint64_t waiting_bytes = 0;      // for other hosts
  uint64_t outstanding_bytes = 0;  // calls to Redis without an answer
  uint64_t missing_servers = 0;    // Redis servers with inboxes that are not there
  uint64_t unsure_sessions = 0;    // may have gone on at another host, which Redis will tell
  uint64_t redis_warnings = 0;     // settings by which it may lose what it holds; the log has them
  uint64_t inbox_bytes = 0;        // from other hosts, not yet confirmed by the workers
  // Since this master began:
  uint64_t redis_breaks = 0;     // connections to Redis that broke
  uint64_t calls_lost = 0;       // calls to Redis whose answer never came
  uint64_t calls_refused = 0;    // calls that Redis refused
  uint64_t dropped_qos0 = 0;     // messages for other hosts
  uint64_t listener_breaks = 0;  // connections that only listen to Redis
  uint64_t lost_qos0 = 0;        // messages of other hosts that Redis did not pass on
  std::vector<NodeStatus> nodes;
  bool operator==(const ClusterStatus&) const = default;
};

struct Status {
  std::string version;
  std::string config_file;
  int64_t pid = 0;
  int64_t started = 0;  // seconds since the epoch
  int64_t now = 0;
  std::string load_average;
  uint64_t groups = 0;
  bool all_ready = false;
  std::vector<WorkerStatus> workers;
  std::vector<ExitCount> exits;
  ClusterStatus cluster;
  // Every process is ready, and messages travel to the other hosts if there should be any.
  bool in_service() const { return all_ready && (cluster.node_id.empty() || cluster.ready); }
  // What is not, a line each; empty if nothing is said to be (a stop that has just begun).
  std::string not_in_service() const;
  bool operator==(const Status&) const = default;
};

std::string to_json(const Status& status);         // one line
Status status_from_json(const std::string& text);  // throws std::exception
std::string status_tables(const Status& status);

// "1.5M"
std::string human_bytes(uint64_t bytes);

}  // namespace master
