// The one table of options: path, type, bounds, help and where the value lives. Loading, validation, unknown-key hints,
// dumping and the option reference are all driven by it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "shared/config/config.h"

namespace config {

// Where a value lives. Text kinds that need their own rules have their own types.
struct TextRef {
  std::string* value;
  bool (*valid)(std::string_view) = nullptr;  // null: every text is
  std::string_view takes = "a text";          // what is valid, in words
};
struct PathRef {
  std::string* value;
  bool may_be_empty;  // "" means: none
};
struct EnumRef {
  uint8_t* value;
  std::span<const std::string_view> names;  // by number
};
struct ListenRef {
  std::vector<Listen>* value;
  Scheme scheme = Scheme::mqtt;
};
struct CountRef {
  uint32_t* value;
};
struct RedisUrlRef {  // holds a password
  std::string* value;
};
struct SecretRef {  // never shown
  std::string* value;
};
struct HostsRef {
  std::vector<std::string>* value;
};
using Ref = std::variant<bool*, uint16_t*, uint32_t*, uint64_t*, double*, TextRef, PathRef, EnumRef, ListenRef,
                         CountRef, RedisUrlRef, SecretRef, HostsRef>;

// What an option's accessor may reach. `group` is null for options outside of "workers".
struct Target {
  Config& config;
  WorkerGroup* group;
};

struct Option {
  std::string_view path;  // "mqtt.max_inflight"; "workers.*.count" for each group
  Ref (*ref)(Target);
  double min;  // bounds of numbers
  double max;
  std::string_view default_text;  // if it is not what the struct says
  std::string_view help;
};
std::span<const Option> options();

// Keys the design names whose feature is not in this build. Setting one is an error: an option that is ignored would
// promise what is not kept (a password file without authentication is an open broker).
struct Absent {
  std::string_view path;
  std::string_view allowed;  // JSON values that say "without it" and are accepted, separated by spaces
  std::string_view feature;
};
std::span<const Absent> absent_options();

inline constexpr std::string_view kGroupPrefix = "workers.*.";
// Options that mean something in a cluster only.
inline constexpr std::string_view kRedisPrefix = "redis.";
inline constexpr std::string_view kDefaultRedisUrl = "redis://127.0.0.1:6379/0";

// What the option takes, in words: "a whole number from 1 to 65535".
std::string expected_value(const Option& option);
// The default as JSON text, for the reference.
std::string default_value(const Option& option);

}  // namespace config
