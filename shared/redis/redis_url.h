// Where a Redis is and who we are there: redis://[user[:password]@]host[:port][/db], and host:port of a sentinel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace redis {

struct HostPort {
  std::string host;  // name or numeric address, without brackets
  uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};

struct Url {
  HostPort server;
  std::string user;      // empty: Redis's default user
  std::string password;  // empty: no AUTH. Never logged.
  uint32_t database = 0;
  bool operator==(const Url&) const = default;
};

// User and password are percent-decoded; ":password@" is a password without a user. False: `error` says what is wrong,
// without quoting the url. `needs_server` false: the host may be missing (sentinels know it).
[[nodiscard]] bool parse_url(std::string_view text, Url& url, std::string& error, bool needs_server = true);

// "host", "host:port", "[v6]:port".
[[nodiscard]] bool parse_host_port(std::string_view text, uint16_t default_port, HostPort& out, std::string& error);

// "host:port", with brackets where needed.
std::string to_text(const HostPort& server);

}  // namespace redis
