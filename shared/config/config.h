// The configuration as plain structs, one per object of workers.json. Defaults here are the documented defaults.
// Filled by load.h from the schema table (schema.h); validated as a whole before anything uses it (contract C4).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace config {

enum class Scheme : uint8_t { mqtt, http };  // mqtts, ws and wss come with the edge; http is admin's

// One address of a "listen".
struct Listen {
  Scheme scheme = Scheme::mqtt;
  std::string host;  // numeric IPv4 or IPv6 address ("0.0.0.0", "::1"); IPv6 without brackets
  uint16_t port = 0;
  std::string url;  // as written
};

// "context" of a worker group: limits of its listeners.
struct ListenerContext {
  uint32_t max_connections = 0;  // per worker, 0 = as many as files allow
};

struct WorkerGroup {
  std::string name;
  std::vector<Listen> listen;
  uint32_t count = 1;  // resolved: "cpu*1" is already a number here
  bool reuse_port = true;
  ListenerContext context;
};

enum class QueueFull : uint8_t { drop_new, drop_old, disconnect };
enum class SharedStrategy : uint8_t { round_robin, random, sticky, hash_client_id, local, least_inflight };

struct Mqtt {
  uint32_t max_packet_size = 268435460;  // bytes, fixed header included, both ways
  uint16_t max_inflight = 20;        // unacknowledged QoS>0 messages to one client (its Receive Maximum may be less)
  uint16_t receive_maximum = 20;     // unacknowledged QoS>0 messages from one client
  uint32_t max_queued_messages = 0;  // per client, 0 = bounded by bytes only
  uint64_t max_queued_bytes = 67108864;  // per client; also bounds what waits to be written to its socket
  QueueFull queue_full = QueueFull::drop_new;
  uint16_t topic_alias_max = 10;   // aliases a client may use towards us, and we towards it
  uint16_t max_keepalive = 65535;  // seconds; a longer (or no) keep-alive gets Server Keep Alive; 65535 = leave
  uint32_t session_expiry_max = 4294967295;  // seconds; 4294967295 = unlimited
  uint16_t max_topic_levels = 128;
  uint32_t max_topic_length = 65535;    // bytes
  uint32_t max_subscriptions = 100000;  // per client, 0 = unlimited
  uint32_t max_sessions = 0;            // per worker, 0 = unlimited
  uint64_t max_retained = 0;            // on the host, 0 = unlimited
  bool retain_available = true;
  bool allow_zero_length_client_id = true;
  uint32_t sys_interval = 10;              // seconds between $SYS updates, 0 = off
  uint32_t connect_timeout = 10;           // seconds a connection may take to send its CONNECT
  uint64_t max_partial_bytes = 536870912;  // per worker: the sum of partly received packets
  SharedStrategy shared_subscription_strategy = SharedStrategy::round_robin;
};

enum class StoreSync : uint8_t { process, always };

struct Store {
  StoreSync sync = StoreSync::process;
  uint64_t max_size = 0;  // bytes of all slots' stores together, 0 = unlimited
};

// What a CONNECT gets that may want a session which another host holds, while Redis cannot be asked.
enum class RedisDown : uint8_t { refuse, accept };

// A cluster of hosts. Without a url this host is complete on its own.
struct Redis {
  std::string url;                     // "redis://[user:password@]host:port/db"; empty: no cluster
  std::vector<std::string> sentinels;  // "host:port"; then the url names no server but credentials and database
  std::string sentinel_master = "mymaster";
  std::string sentinel_user;            // empty: the default user
  std::string sentinel_password;        // the sentinels' own; empty: no AUTH. Never logged.
  std::string inbox;                    // "host:port" of the server with this host's inbox; empty: url's
  std::string prefix = "mqtt-master:";  // of every key and channel
  std::string node_id;                  // of this host in the cluster; load() puts the host's name for an empty one
  RedisDown redis_down = RedisDown::refuse;
  double full_timeout = 0;  // seconds a publisher is paused when too much waits for other hosts; 0: as long as it takes
  double lease = 10;        // seconds without a sign of life after which others adopt a host's sessions
};

// The master's HTTP server for monitoring and load balancers.
struct Admin {
  std::vector<Listen> listen;  // none: there is no server
};

enum class LogLevel : uint8_t { debug, info, warn, error };
enum class LogFormat : uint8_t { text, json };

struct Config {
  std::string file;  // absolute path of the file this came from; empty: built-in defaults
  // Paths are absolute here (relative ones are relative to the config file).
  std::string run_dir;      // default "run"
  std::string data_dir;     // default "data"
  std::string pid_file;     // default run_dir/mqtt-master.pid
  std::string log_file;     // default run_dir/mqtt-master.log
  std::string stdout_file;  // default /dev/null; where stdout and stderr go when daemonised
  LogLevel log_level = LogLevel::info;
  LogFormat log_format = LogFormat::text;
  std::string user;
  std::string group;
  bool daemonize = false;
  double stop_timeout = 2;   // seconds from TERM to KILL
  double stall_timeout = 5;  // seconds without a heartbeat before a worker is killed
  double drain_timeout = 30;
  uint32_t drain_rate = 500;
  std::vector<WorkerGroup> workers;  // in the file's order; never empty
  Mqtt mqtt;
  Store store;
  Redis redis;
  Admin admin;

  bool clustered() const { return !redis.url.empty(); }
  // A dead host of the cluster that goes on at another one (master/guests.h): it takes no clients.
  bool is_guest() const { return workers.size() == 1 && workers[0].listen.empty(); }
  // Slots are numbered over all groups in order: the slot's group and its index in that group.
  uint32_t slot_count() const;
  // Processes under the master: the workers and, in a cluster, the gateway to the other hosts, whose slot is the last.
  uint32_t process_count() const { return slot_count() + (clustered() ? 1 : 0); }
  bool is_gateway(uint32_t slot) const { return clustered() && slot == slot_count(); }
};

// "mqtt/0" for slot 0 of group "mqtt", "gateway" for the gateway's. REQUIRES: slot < config.process_count().
std::string slot_name(const Config& config, uint32_t slot);
// REQUIRES: slot < config.slot_count().
const WorkerGroup& group_of_slot(const Config& config, uint32_t slot);

}  // namespace config
