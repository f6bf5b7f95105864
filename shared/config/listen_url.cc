#include "shared/config/listen_url.h"

#include <arpa/inet.h>

#include <charconv>

namespace config {
namespace {

constexpr uint16_t kDefaultPort = 1883;
constexpr std::string_view kExpected = "expected \"mqtt://ADDRESS:PORT\"";

struct SchemeRow {
  std::string_view name;
  std::string_view missing_feature;  // empty: in this build
};
constexpr SchemeRow kSchemes[] = {{"mqtt", ""}, {"mqtts", "TLS"}, {"ws", "WebSocket"}, {"wss", "WebSocket over TLS"}};

std::string quoted(std::string_view text) {
  return '"' + std::string(text) + '"';
}

bool is_address(int family, const std::string& host) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(family, host.c_str(), buffer) == 1;
}

// Empty: the scheme is fine.
std::string check_scheme(std::string_view scheme) {
  for (const SchemeRow& row : kSchemes) {
    if (row.name != scheme) continue;
    if (row.missing_feature.empty()) return {};
    return std::string(row.missing_feature) + " (" + std::string(scheme) +
           "://) is not in this build, expected mqtt://";
  }
  return "unknown scheme " + quoted(scheme) + ", expected mqtt://";
}

bool parse_port(std::string_view text, uint16_t& port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

}  // namespace

std::variant<Listen, std::string> parse_listen(std::string_view url) {
  const size_t separator = url.find("://");
  if (separator == std::string_view::npos) return std::string(kExpected);
  if (std::string problem = check_scheme(url.substr(0, separator)); !problem.empty()) return problem;

  Listen listen;
  listen.url = url;
  std::string_view rest = url.substr(separator + 3);
  const bool bracketed = rest.starts_with('[');
  const size_t host_end = bracketed ? rest.find(']') : rest.find(':');
  if (bracketed && host_end == std::string_view::npos) return "\"[\" without \"]\", " + std::string(kExpected);
  listen.host = rest.substr(bracketed ? 1 : 0, bracketed ? host_end - 1 : host_end);
  rest = host_end == std::string_view::npos ? std::string_view() : rest.substr(host_end + (bracketed ? 1 : 0));
  if (!is_address(bracketed ? AF_INET6 : AF_INET, listen.host)) {
    return quoted(listen.host) + " is not a numeric address; expected one like 0.0.0.0, 127.0.0.1 or [::1]";
  }
  listen.port = kDefaultPort;
  if (!rest.empty() && (rest[0] != ':' || !parse_port(rest.substr(1), listen.port))) {
    return "expected a port from 1 to 65535 after the address, and nothing behind it";
  }
  return listen;
}

}  // namespace config
