// "redis.url" and "redis.sentinels" in pieces, and without their secrets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace config {

struct HostPort {
  std::string host;  // name or address, IPv6 without brackets
  uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};
// "HOST", "HOST:PORT", "[IPv6]:PORT". False: it is none of these.
[[nodiscard]] bool parse_host_port(std::string_view text, uint16_t default_port, HostPort& to);
// "HOST:PORT", with brackets where needed.
std::string to_text(const HostPort& server);

inline constexpr uint16_t kRedisPort = 6379;
inline constexpr uint16_t kSentinelPort = 26379;

struct RedisUrl {
  HostPort server{"", kRedisPort};  // the host may be empty: Sentinel knows
  std::string user;                 // empty: the default user
  std::string password;             // empty: no AUTH. Never logged.
  uint32_t database = 0;
  bool operator==(const RedisUrl&) const = default;
};
// redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], user and password percent-encoded. Or what is wrong with it in
// words, which do not repeat it.
std::variant<RedisUrl, std::string> parse_redis_url(std::string_view url);

// The text with every password of a URL in it replaced by "***"; for whatever is printed, whole or broken.
std::string mask_passwords(std::string_view text);

}  // namespace config
