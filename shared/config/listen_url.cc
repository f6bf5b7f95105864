#include "shared/config/listen_url.h"

#include <arpa/inet.h>

#include <charconv>

namespace config {
namespace {

struct Expected {
  std::string_view scheme;
  uint16_t port;
  std::string url() const { return "expected \"" + std::string(scheme) + "://ADDRESS:PORT\""; }
};
constexpr Expected kExpected[] = {{"mqtt", 1883}, {"http", 9100}};  // by Scheme

struct MissingRow {
  std::string_view name;
  std::string_view feature;
};
constexpr MissingRow kMissing[] = {
    {"mqtts", "TLS"}, {"ws", "WebSocket"}, {"wss", "WebSocket over TLS"}, {"https", "HTTPS"}};

std::string quoted(std::string_view text) {
  return '"' + std::string(text) + '"';
}

bool is_address(int family, const std::string& host) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(family, host.c_str(), buffer) == 1;
}

// Empty: the scheme is fine.
std::string check_scheme(std::string_view scheme, std::string_view expected) {
  if (scheme == expected) return {};
  const std::string instead = ", expected " + std::string(expected) + "://";
  for (const MissingRow& row : kMissing) {
    if (row.name == scheme) {
      return std::string(row.feature) + " (" + std::string(scheme) + "://) is not in this build" + instead;
    }
  }
  for (const Expected& other : kExpected) {
    if (other.scheme == scheme) return std::string(scheme) + ":// is not for this" + instead;
  }
  return "unknown scheme " + quoted(scheme) + instead;
}

bool parse_port(std::string_view text, uint16_t& port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

}  // namespace

std::variant<Listen, std::string> parse_listen(std::string_view url, Scheme scheme) {
  const Expected& expected = kExpected[static_cast<size_t>(scheme)];
  const size_t separator = url.find("://");
  if (separator == std::string_view::npos) return expected.url();
  if (std::string problem = check_scheme(url.substr(0, separator), expected.scheme); !problem.empty()) return problem;

  Listen listen;
  listen.scheme = scheme;
  listen.url = url;
  std::string_view rest = url.substr(separator + 3);
  const bool bracketed = rest.starts_with('[');
  const size_t host_end = bracketed ? rest.find(']') : rest.find(':');
  if (bracketed && host_end == std::string_view::npos) return "\"[\" without \"]\", " + expected.url();
  listen.host = rest.substr(bracketed ? 1 : 0, bracketed ? host_end - 1 : host_end);
  rest = host_end == std::string_view::npos ? std::string_view() : rest.substr(host_end + (bracketed ? 1 : 0));
  if (!is_address(bracketed ? AF_INET6 : AF_INET, listen.host)) {
    return quoted(listen.host) + " is not a numeric address; expected one like 0.0.0.0, 127.0.0.1 or [::1]";
  }
  listen.port = expected.port;
  if (!rest.empty() && (rest[0] != ':' || !parse_port(rest.substr(1), listen.port))) {
    return "expected a port from 1 to 65535 after the address, and nothing behind it";
  }
  return listen;
}

}  // namespace config
