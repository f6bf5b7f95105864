#include "shared/config/load.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "shared/config/json_text.h"
#include "shared/config/listen_url.h"
#include "shared/config/redis_url.h"
#include "shared/config/schema.h"
#include "shared/config/suggest.h"

namespace config {
namespace {

constexpr size_t kMaxRunDir = 80;    // Unix sockets live in it, and their addresses hold 107 bytes
constexpr uint32_t kMaxSlots = 256;  // router::kMaxPeers
constexpr size_t kMaxListens = 64;
constexpr size_t kMaxGroupName = 64;
constexpr size_t kMaxSentinels = 64;
constexpr size_t kMaxNodeId = 64;

std::string shown(const Json& value) {
  std::string text = mask_passwords(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::string resolved(const std::string& directory, const std::string& path) {
  return (std::filesystem::path(directory) / path).lexically_normal().string();
}

// The host's name as a node id: one that may not be in it stands as "-".
std::string node_id_of(std::string host) {
  host.resize(std::min(host.size(), kMaxNodeId));
  for (char& c : host) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') c = '-';
  }
  return host;
}

// Puts one JSON value where a Ref points. False: it is not what the option takes.
class Assign {
 public:
  Assign(const Json& value, const Option& option, const Environment& environment)
      : value_(value), option_(option), environment_(environment) {}

  bool operator()(bool* to) const {
    if (!value_.is_boolean()) return false;
    *to = value_.get<bool>();
    return true;
  }
  bool operator()(uint16_t* to) const { return whole(to); }
  bool operator()(uint32_t* to) const { return whole(to); }
  bool operator()(uint64_t* to) const { return whole(to); }
  bool operator()(double* to) const {
    if (!value_.is_number() || !within(value_.get<double>())) return false;
    *to = value_.get<double>();
    return true;
  }
  bool operator()(TextRef ref) const {
    if (!value_.is_string()) return false;
    auto text = value_.get<std::string>();
    if (ref.valid != nullptr && !environment_.internal && !ref.valid(text)) return false;
    *ref.value = std::move(text);
    return true;
  }
  bool operator()(PathRef ref) const {
    if (!value_.is_string()) return false;
    const auto path = value_.get<std::string>();
    if ((path.empty() && !ref.may_be_empty) || path.find('\0') != std::string::npos) return false;
    *ref.value = path.empty() ? path : resolved(environment_.directory, path);
    return true;
  }
  bool operator()(EnumRef ref) const {
    if (!value_.is_string()) return false;
    const auto found = std::ranges::find(ref.names, value_.get<std::string>());
    if (found == ref.names.end()) return false;
    *ref.value = static_cast<uint8_t>(found - ref.names.begin());
    return true;
  }
  bool operator()(SecretRef ref) const {
    if (!value_.is_string()) return false;
    *ref.value = value_.get<std::string>();
    return true;
  }
  bool operator()(CountRef ref) const { return value_.is_string() ? cpu_multiple(ref.value) : whole(ref.value); }
  bool operator()(HostsRef ref) const {
    if (!value_.is_array() || value_.size() > kMaxSentinels) return false;
    for (const Json& item : value_) {
      HostPort place;
      if (!item.is_string() || !parse_host_port(item.get<std::string>(), kSentinelPort, place)) return false;
      if (place.host.empty()) return false;
      ref.value->push_back(item.get<std::string>());
    }
    return true;
  }
  // These have problems of their own: Loader::listen, Loader::redis_url.
  bool operator()(ListenRef) const { return false; }
  bool operator()(RedisUrlRef) const { return false; }

 private:
  bool within(double number) const { return number >= option_.min && number <= option_.max; }

  template <typename T>
  bool whole(T* to) const {
    if (!value_.is_number_unsigned() || !within(value_.get<double>())) return false;
    *to = value_.get<T>();
    return true;
  }

  // "cpu" or "cpu*3"
  bool cpu_multiple(uint32_t* to) const {
    const auto text = value_.get<std::string>();
    uint32_t factor = 1;
    if (text != "cpu") {
      const std::string digits = text.starts_with("cpu*") ? text.substr(4) : "";
      if (digits.empty() || digits.size() > 4 ||
          !std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; })) {
        return false;
      }
      factor = static_cast<uint32_t>(std::stoul(digits));
    }
    if (!within(static_cast<double>(factor) * environment_.cpus)) return false;
    *to = factor * environment_.cpus;
    return true;
  }

  const Json& value_;
  const Option& option_;
  const Environment& environment_;
};

class Loader {
 public:
  Loader(const Environment& environment, std::vector<Problem>& problems)
      : environment_(environment), problems_(problems) {}

  Config load(const Json& document) {
    set_defaults();
    if (document.is_object()) {
      object(document, "", "", nullptr);
    } else {
      problem("", "found " + shown(document) + ", expected an object");
    }
    finish();
    return std::move(config_);
  }

 private:
  void problem(const std::string& where, std::string what) { problems_.push_back({where, std::move(what)}); }

  void set_defaults() {
    config_.run_dir = resolved(environment_.directory, "run");
    config_.data_dir = resolved(environment_.directory, "data");
    config_.stdout_file = "/dev/null";
  }

  // `schema` is the path in the schema with a dot behind it, `path` the one in the file.
  void object(const Json& from, const std::string& schema, const std::string& path, WorkerGroup* group) {
    for (const auto& [key, value] : from.items()) {
      entry(schema + key, key, value, schema, join_path(path, key), group);
    }
  }

  void entry(const std::string& name, const std::string& key, const Json& value, const std::string& schema,
             const std::string& path, WorkerGroup* group) {
    for (const Absent& absent : absent_options()) {
      if (absent.path == name) return reject_absent(absent, value, path);
    }
    for (const Option& option : options()) {
      if (option.path == name) return assign(option, value, path, group);
    }
    if (name == "workers") return groups(value, path);
    if (is_section(name)) {
      if (name + '.' == kRedisPrefix) clustered_ = true;
      if (value.is_object()) return object(value, name + '.', path, group);
      return problem(path, "found " + shown(value) + ", expected an object");
    }
    problem(path, "unknown key" + did_you_mean(key, keys_of(schema)));
  }

  void reject_absent(const Absent& absent, const Json& value, const std::string& path) {
    if (!absent.allowed.empty() && shown(value) == absent.allowed) return;
    std::string what = "found " + shown(value) + ", but " + std::string(absent.feature) + " is not in this build";
    what += absent.allowed.empty() ? "; expected no such key" : "; expected " + std::string(absent.allowed);
    problem(path, what);
  }

  void assign(const Option& option, const Json& value, const std::string& path, WorkerGroup* group) {
    given_.insert(option.path);
    const Ref ref = option.ref({config_, group});
    if (const auto* listens = std::get_if<ListenRef>(&ref)) return listen(*listens, value, path);
    if (const auto* url = std::get_if<RedisUrlRef>(&ref)) return redis_url(*url->value, value, path);
    if (std::visit(Assign(value, option, environment_), ref)) return;
    const bool secret = std::holds_alternative<SecretRef>(ref);
    problem(path, "found " + (secret ? value.type_name() : shown(value)) + ", expected " + expected_value(option));
  }

  void listen(ListenRef to, const Json& value, const std::string& path) {
    if (value.is_string()) return listen_url(to, value, path);
    const bool may_be_empty = environment_.internal || to.scheme == Scheme::http;
    if (value.is_array() && value.empty() && may_be_empty) return;
    if (!value.is_array() || value.empty() || value.size() > kMaxListens) {
      return problem(
          path, "found " + shown(value) + ", expected an address or an array of 1 to " + std::to_string(kMaxListens));
    }
    for (size_t i = 0; i < value.size(); ++i) listen_url(to, value[i], path + '[' + std::to_string(i) + ']');
  }

  void listen_url(ListenRef to, const Json& value, const std::string& path) {
    if (!value.is_string()) return problem(path, "found " + shown(value) + ", expected a URL");
    const auto parsed = parse_listen(value.get<std::string>(), to.scheme);
    if (const auto* wrong = std::get_if<std::string>(&parsed)) {
      return problem(path, "found " + shown(value) + ": " + *wrong);
    }
    const auto& address = std::get<Listen>(parsed);
    const auto [other, fresh] = addresses_.insert({{address.host, address.port}, path});
    if (!fresh) return problem(path, "found " + shown(value) + ", which " + other->second + " has already");
    to.value->push_back(address);
  }

  void redis_url(std::string& to, const Json& value, const std::string& path) {
    if (!value.is_string()) return problem(path, "found " + shown(value) + ", expected a URL");
    to = value.get<std::string>();
    const auto parsed = parse_redis_url(to);
    if (const auto* wrong = std::get_if<std::string>(&parsed)) problem(path, "found " + shown(value) + ": " + *wrong);
  }

  void groups(const Json& value, const std::string& path) {
    if (!value.is_object() || value.empty()) {
      return problem(path, "found " + shown(value) + ", expected an object with a group or more");
    }
    for (const auto& [name, group] : value.items()) one_group(name, group, join_path(path, name));
  }

  void one_group(const std::string& name, const Json& value, const std::string& path) {
    const bool good_name =
        !name.empty() && name.size() <= kMaxGroupName &&
        std::ranges::none_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '/'; });
    if (!good_name) problem(path, "expected a group name of 1 to 64 bytes without \"/\" and control characters");
    if (!value.is_object()) return problem(path, "found " + shown(value) + ", expected an object");
    WorkerGroup group;
    group.name = name;
    group.count = environment_.cpus;
    object(value, std::string(kGroupPrefix), path, &group);
    if (!value.contains("listen"))
      problem(path, "\"listen\" is missing, expected an address like \"mqtt://0.0.0.0:1883\"");
    config_.workers.push_back(std::move(group));
  }

  // What follows from several options.
  void finish() {
    if (!given_.contains("pid_file")) config_.pid_file = config_.run_dir + "/mqtt-master.pid";
    if (!given_.contains("log_file")) config_.log_file = config_.run_dir + "/mqtt-master.log";
    if (config_.run_dir.size() > kMaxRunDir && !environment_.internal) {
      problem("run_dir", "found \"" + config_.run_dir + "\", expected a path of at most 80 bytes (it holds sockets)");
    }
    if (config_.workers.empty()) {
      config_.workers.push_back(
          {"mqtt", {{Scheme::mqtt, "127.0.0.1", 1883, "mqtt://127.0.0.1:1883"}}, environment_.cpus, true, {}});
    }
    if (clustered_) finish_redis();
    if (config_.process_count() > kMaxSlots) {
      const std::string most = std::to_string(kMaxSlots - (config_.process_count() - config_.slot_count()));
      problem("workers", "found " + std::to_string(config_.slot_count()) + " workers in all, expected at most " + most);
    }
  }

  void finish_redis() {
    Redis& redis = config_.redis;
    if (!given_.contains("redis.url")) redis.url = kDefaultRedisUrl;
    const auto parsed = parse_redis_url(redis.url);
    const auto* url = std::get_if<RedisUrl>(&parsed);
    if (url != nullptr && url->server.host.empty() && redis.sentinels.empty()) {
      problem("redis.url", "it names no host, expected one, or \"redis.sentinels\" that know it");
    }
    check_sentinel_credentials();
    if (redis.node_id.empty()) redis.node_id = node_id_of(environment_.host);
    if (redis.node_id.empty()) problem("redis.node_id", "this host has no name, expected one here");
  }

  void check_sentinel_credentials() {
    const Redis& redis = config_.redis;
    if (redis.sentinels.empty() && !redis.sentinel_password.empty()) {
      problem("redis.sentinel_password", "there are no Sentinels to ask for it, expected \"redis.sentinels\"");
    }
    if (redis.sentinel_password.empty() && !redis.sentinel_user.empty()) {
      problem("redis.sentinel_user", "it has no password, expected \"redis.sentinel_password\"");
    }
  }

  static bool is_section(const std::string& name) {
    const auto below = [&](const auto& row) { return row.path.starts_with(name + '.'); };
    return std::ranges::any_of(options(), below) || std::ranges::any_of(absent_options(), below);
  }

  // The keys the schema has directly below a prefix.
  static std::vector<std::string> keys_of(const std::string& schema) {
    std::vector<std::string> keys;
    const auto add = [&](std::string_view path) {
      if (path.starts_with(schema))
        keys.emplace_back(path.substr(schema.size(), path.find('.', schema.size()) - schema.size()));
    };
    for (const Option& option : options()) add(option.path);
    for (const Absent& absent : absent_options()) add(absent.path);
    return keys;
  }

  const Environment& environment_;
  std::vector<Problem>& problems_;
  Config config_;
  bool clustered_ = false;  // "redis" is there
  std::set<std::string_view> given_;
  std::map<std::pair<std::string, uint16_t>, std::string> addresses_;  // -> the path that has it
};

std::string read_whole(const std::string& path) {
  if (std::filesystem::is_directory(path)) throw std::runtime_error("is a directory");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(std::strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace

Environment current_environment() {
  cpu_set_t set;
  const bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return {std::filesystem::current_path().string(), known ? static_cast<uint32_t>(CPU_COUNT(&set)) : 1U, host, false};
}

Loaded load_text(std::string_view text, const Environment& environment, const std::string& file) {
  Loaded loaded;
  const std::optional<Json> document = parse_json(text, loaded.problems);
  if (document) loaded.config = Loader(environment, loaded.problems).load(*document);
  loaded.config.file = file;
  return loaded;
}

Loaded load_file(const std::string& path) {
  const std::string file = std::filesystem::absolute(path).lexically_normal().string();
  try {
    Environment environment = current_environment();
    environment.directory = std::filesystem::path(file).parent_path().string();
    return load_text(read_whole(file), environment, file);
  } catch (const std::exception& error) {
    return {{}, {{"", std::string("cannot be read: ") + error.what()}}};
  }
}

Config defaults(const Environment& environment) {
  return load_text("{}", environment).config;
}

std::string report(const std::string& file, const std::vector<Problem>& problems) {
  std::string out = file + ": " + std::to_string(problems.size()) + (problems.size() == 1 ? " error\n" : " errors\n");
  for (const Problem& problem : problems) {
    out += "  " + problem.where + (problem.where.empty() ? "" : ": ") + problem.what + '\n';
  }
  return out;
}

}  // namespace config
