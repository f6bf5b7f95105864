#include "shared/config/schema.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

#include "shared/config/redis_url.h"

namespace config {
namespace {

constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kLogFormats[] = {"text", "json"};
constexpr std::string_view kQueueFull[] = {"drop_new", "drop_old", "disconnect"};
constexpr std::string_view kStrategies[] = {"round_robin",    "random", "sticky",
                                            "hash_client_id", "local",  "least_inflight"};
constexpr std::string_view kStoreSync[] = {"process", "always"};
constexpr std::string_view kRedisDown[] = {"refuse", "accept"};

template <typename Enum>
EnumRef enum_ref(Enum& value, std::span<const std::string_view> names) {
  static_assert(sizeof(Enum) == 1);
  return {reinterpret_cast<uint8_t*>(&value), names};
}

bool not_empty(std::string_view text) {
  return !text.empty() && text.size() <= 64;
}

bool is_server(std::string_view text) {
  HostPort server;
  return text.empty() || (parse_host_port(text, kRedisPort, server) && !server.host.empty());
}

bool is_node_id(std::string_view text) {
  return text.size() <= 64 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
}

constexpr double kU16 = 65535;
constexpr double kU32 = 4294967295;
constexpr double kMaxBytes = 9007199254740992;  // 2^53: what every JSON implementation keeps exact

// R(field): an accessor of a field of Config. G(field): of a WorkerGroup.
#define R(field) [](Target t) -> Ref { return &t.config.field; }
#define G(field) [](Target t) -> Ref { return &t.group->field; }

constexpr Option kOptions[] = {
    {"run_dir",
     [](Target t) -> Ref {
       return PathRef{&t.config.run_dir, false};
     },
     0, 0, "\"run\"", "directory of the control socket; created with mode 0700"},
    {"data_dir",
     [](Target t) -> Ref {
       return PathRef{&t.config.data_dir, false};
     },
     0, 0, "\"data\"", "directory of the stores and the instance lock; created with mode 0700"},
    {"pid_file",
     [](Target t) -> Ref {
       return PathRef{&t.config.pid_file, false};
     },
     0, 0, "run_dir + \"/mqtt-master.pid\"", "the master's process id while it runs"},
    {"log_file",
     [](Target t) -> Ref {
       return PathRef{&t.config.log_file, true};
     },
     0, 0, "run_dir + \"/mqtt-master.log\"", "where events are logged; \"\" for nowhere"},
    {"stdout_file",
     [](Target t) -> Ref {
       return PathRef{&t.config.stdout_file, false};
     },
     0, 0, "\"/dev/null\"", "where standard output and error go when daemonised"},
    {"log_level", [](Target t) -> Ref { return enum_ref(t.config.log_level, kLogLevels); }, 0, 0, "",
     "least level that is logged"},
    {"log_format", [](Target t) -> Ref { return enum_ref(t.config.log_format, kLogFormats); }, 0, 0, "",
     "one event a line, as text or as JSON"},
    {"user", [](Target t) -> Ref { return TextRef{&t.config.user}; }, 0, 0, "",
     "user the workers run as, if the master is root; \"\" for the master's own"},
    {"group", [](Target t) -> Ref { return TextRef{&t.config.group}; }, 0, 0, "",
     "group the workers run as; \"\" for the user's groups"},
    {"daemonize", R(daemonize), 0, 0, "", "go to the background once every worker is ready, as -d"},
    {"stop_timeout", R(stop_timeout), 0, 3600, "", "seconds a worker has between TERM and KILL when stopped"},
    {"stall_timeout", R(stall_timeout), 0.2, 3600, "", "seconds without a heartbeat after which a worker is killed"},
    {"drain_timeout", R(drain_timeout), 0, 86400, "", "seconds a graceful stop may take"},
    {"drain_rate", R(drain_rate), 1, 1000000, "", "clients a second asked to reconnect in a graceful stop"},

    {"workers.*.listen", [](Target t) -> Ref { return ListenRef{&t.group->listen}; }, 0, 0, "",
     "addresses the group's workers accept clients on"},
    {"workers.*.count", [](Target t) -> Ref { return CountRef{&t.group->count}; }, 1, 256, "\"cpu*1\"",
     "worker processes of the group"},
    {"workers.*.reuse_port", G(reuse_port), 0, 0, "",
     "one SO_REUSEPORT socket for each worker (true) or one socket that all of them share"},
    {"workers.*.context.max_connections", G(context.max_connections), 0, kU32, "",
     "connections each worker takes; 0 for as many as it may have open files"},

    {"mqtt.max_packet_size", R(mqtt.max_packet_size), 1024, 268435460, "", "bytes of the largest packet, both ways"},
    {"mqtt.max_inflight", R(mqtt.max_inflight), 1, kU16, "",
     "unacknowledged QoS 1 and 2 messages to one client (its Receive Maximum may be less)"},
    {"mqtt.receive_maximum", R(mqtt.receive_maximum), 1, kU16, "",
     "unacknowledged QoS 1 and 2 messages from one client"},
    {"mqtt.max_queued_messages", R(mqtt.max_queued_messages), 0, kU32, "",
     "messages waiting for one client; 0: bounded by bytes only"},
    {"mqtt.max_queued_bytes", R(mqtt.max_queued_bytes), 1024, kMaxBytes, "",
     "bytes waiting for one client, its socket's unsent bytes included"},
    {"mqtt.queue_full", [](Target t) -> Ref { return enum_ref(t.config.mqtt.queue_full, kQueueFull); }, 0, 0, "",
     "what gives way when a client's queue is full"},
    {"mqtt.topic_alias_max", R(mqtt.topic_alias_max), 0, kU16, "", "topic aliases of a connection, each way"},
    {"mqtt.max_keepalive", R(mqtt.max_keepalive), 1, kU16, "",
     "seconds; a longer keep-alive, or none, gets this one (MQTT 5); 65535 leaves it to the client"},
    {"mqtt.session_expiry_max", R(mqtt.session_expiry_max), 0, kU32, "",
     "seconds a session may outlive its connection; 4294967295 for no limit"},
    {"mqtt.max_topic_levels", R(mqtt.max_topic_levels), 1, kU16, "", "levels of a topic or filter"},
    {"mqtt.max_topic_length", R(mqtt.max_topic_length), 1, kU16, "", "bytes of a topic or filter"},
    {"mqtt.max_subscriptions", R(mqtt.max_subscriptions), 0, kU32, "", "subscriptions of one client; 0 for no limit"},
    {"mqtt.max_sessions", R(mqtt.max_sessions), 0, kU32, "", "sessions each worker holds; 0 for no limit"},
    {"mqtt.max_retained", R(mqtt.max_retained), 0, kMaxBytes, "", "retained messages of the host; 0 for no limit"},
    {"mqtt.retain_available", R(mqtt.retain_available), 0, 0, "", "whether messages may be retained"},
    {"mqtt.allow_zero_length_client_id", R(mqtt.allow_zero_length_client_id), 0, 0, "",
     "whether a client may leave its id to the broker"},
    {"mqtt.sys_interval", R(mqtt.sys_interval), 0, 86400, "", "seconds between updates of $SYS topics; 0 for none"},
    {"mqtt.connect_timeout", R(mqtt.connect_timeout), 1, 3600, "", "seconds a connection may take to send CONNECT"},
    {"mqtt.max_partial_bytes", R(mqtt.max_partial_bytes), 1048576, kMaxBytes, "",
     "bytes of partly received packets a worker holds"},
    {"mqtt.shared_subscription_strategy",
     [](Target t) -> Ref { return enum_ref(t.config.mqtt.shared_subscription_strategy, kStrategies); }, 0, 0, "",
     "how a shared subscription picks the member that gets a message"},

    {"store.sync", [](Target t) -> Ref { return enum_ref(t.config.store.sync, kStoreSync); }, 0, 0, "",
     "what an acknowledgement survives: the death of any process (on disk about once a second), or also a power cut"},
    {"store.max_size", R(store.max_size), 0, kMaxBytes, "",
     "bytes of the stores on disk, shared equally by the workers; 0 for no limit"},

    {"redis.url", [](Target t) -> Ref { return RedisUrlRef{&t.config.redis.url}; }, 0, 0,
     "\"redis://127.0.0.1:6379/0\"", "the Redis that makes hosts a cluster; without \"redis\" a host is by itself"},
    {"redis.sentinels", [](Target t) -> Ref { return HostsRef{&t.config.redis.sentinels}; }, 0, 0, "",
     "Sentinels that know where that Redis is; the url then gives only credentials and database"},
    {"redis.sentinel_master",
     [](Target t) -> Ref {
       return TextRef{&t.config.redis.sentinel_master, not_empty, "a text of 1 to 64 bytes"};
     },
     0, 0, "", "what the Sentinels call it"},
    {"redis.sentinel_user", [](Target t) -> Ref { return TextRef{&t.config.redis.sentinel_user}; }, 0, 0, "",
     "as whom to speak to the Sentinels; \"\" for their default user"},
    {"redis.sentinel_password", [](Target t) -> Ref { return SecretRef{&t.config.redis.sentinel_password}; }, 0, 0, "",
     "the Sentinels' own password (their `requirepass`), which is not that of the url; \"\" for none"},
    {"redis.inbox",
     [](Target t) -> Ref {
       return TextRef{&t.config.redis.inbox, is_server, "\"HOST\" or \"HOST:PORT\""};
     },
     0, 0, "",
     "another Redis server that holds what the other hosts send this one; everybody must reach it, with the "
     "credentials "
     "and the database of \"redis.url\""},
    {"redis.prefix",
     [](Target t) -> Ref {
       return TextRef{&t.config.redis.prefix, not_empty, "a text of 1 to 64 bytes"};
     },
     0, 0, "", "what all keys and channels of the cluster begin with"},
    {"redis.node_id",
     [](Target t) -> Ref {
       return TextRef{&t.config.redis.node_id, is_node_id, "up to 64 letters, digits, \"-\" and \"_\""};
     },
     0, 0, "the host's name",
     "name of this host in the cluster: another one's is an error, and it should never change"},
    {"redis.redis_down", [](Target t) -> Ref { return enum_ref(t.config.redis.redis_down, kRedisDown); }, 0, 0, "",
     "what becomes of a CONNECT that may want a session of another host while Redis is away"},
    {"redis.full_timeout", R(redis.full_timeout), 0, 86400, "",
     "seconds a publisher is not read when too much waits for other hosts, before it is closed (0x97); 0 for as long "
     "as "
     "it takes"},
    {"redis.lease", R(redis.lease), 1, 3600, "",
     "seconds without a sign of life after which the others take a host for down"},

    {"admin.listen",
     [](Target t) -> Ref {
       return ListenRef{&t.config.admin.listen, Scheme::http};
     },
     0, 0, "", "addresses of the master's HTTP server: `/metrics`, `/healthz`, `/readyz`; it asks for no password"},
};
#undef R
#undef G

constexpr Absent kAbsent[] = {
    {"auth.allow_anonymous", "true", "authentication"},
    {"auth.password_file", "", "authentication"},
    {"auth.acl_file", "", "authorisation"},
    {"workers.*.reloadable", "true", "reload"},
    {"workers.*.context.tls", "", "TLS"},
    {"workers.*.context.proxy_protocol", "false", "the PROXY protocol"},
    {"workers.*.context.proxy_trusted", "", "the PROXY protocol"},
};

std::string number(double value) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, std::floor(value) == value ? "%.0f" : "%.15g", value);
  return buffer;
}

std::string bounds(const Option& option) {
  return " from " + number(option.min) + " to " + number(option.max);
}

std::string one_of(std::span<const std::string_view> names) {
  std::string out = "one of";
  for (size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? " \"" : ", \"") + std::string(names[i]) + '"';
  }
  return out;
}

struct Expected {
  const Option& option;
  std::string operator()(bool*) const { return "true or false"; }
  std::string operator()(uint16_t*) const { return "a whole number" + bounds(option); }
  std::string operator()(uint32_t*) const { return "a whole number" + bounds(option); }
  std::string operator()(uint64_t*) const { return "a whole number" + bounds(option); }
  std::string operator()(double*) const { return "a number" + bounds(option); }
  std::string operator()(TextRef ref) const { return std::string(ref.takes); }
  std::string operator()(PathRef) const { return "a path"; }
  std::string operator()(EnumRef ref) const { return one_of(ref.names); }
  std::string operator()(ListenRef ref) const {
    const std::string address = ref.scheme == Scheme::http ? "http://127.0.0.1:9100" : "mqtt://0.0.0.0:1883";
    return "an address like \"" + address + "\", or several in an array";
  }
  std::string operator()(CountRef) const {
    return "a whole number" + bounds(option) + ", or \"cpu\", \"cpu*1\", \"cpu*2\", ...";
  }
  std::string operator()(RedisUrlRef) const { return "\"redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]\""; }
  std::string operator()(SecretRef) const { return "a text"; }
  std::string operator()(HostsRef) const { return "an array of \"HOST\" or \"HOST:PORT\""; }
};

struct Default {
  std::string operator()(bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(uint16_t* v) const { return std::to_string(*v); }
  std::string operator()(uint32_t* v) const { return std::to_string(*v); }
  std::string operator()(uint64_t* v) const { return std::to_string(*v); }
  std::string operator()(double* v) const { return number(*v); }
  std::string operator()(TextRef ref) const { return '"' + *ref.value + '"'; }
  std::string operator()(PathRef ref) const { return '"' + *ref.value + '"'; }
  std::string operator()(EnumRef ref) const { return '"' + std::string(ref.names[*ref.value]) + '"'; }
  std::string operator()(ListenRef ref) const { return ref.scheme == Scheme::http ? "[]" : "required"; }
  std::string operator()(CountRef ref) const { return std::to_string(*ref.value); }
  std::string operator()(RedisUrlRef ref) const { return '"' + *ref.value + '"'; }
  std::string operator()(SecretRef) const { return "\"\""; }
  std::string operator()(HostsRef) const { return "[]"; }
};

}  // namespace

std::span<const Option> options() {
  return kOptions;
}
std::span<const Absent> absent_options() {
  return kAbsent;
}

std::string expected_value(const Option& option) {
  Config config;
  WorkerGroup group;
  return std::visit(Expected{option}, option.ref({config, &group}));
}

std::string default_value(const Option& option) {
  if (!option.default_text.empty()) return std::string(option.default_text);
  Config config;
  WorkerGroup group;
  return std::visit(Default{}, option.ref({config, &group}));
}

}  // namespace config
