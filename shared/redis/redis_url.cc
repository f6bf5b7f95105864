#include "shared/redis/redis_url.h"

#include <charconv>
#include <limits>

namespace redis {
namespace {

constexpr std::string_view kScheme = "redis://";
constexpr uint16_t kPort = 6379;

template <typename T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  return failed == std::errc() && end == text.data() + text.size();
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool percent_decode(std::string_view text, std::string& out) {
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return false;
    const int high = hex(text[i + 1]);
    const int low = hex(text[i + 2]);
    if (high < 0 || low < 0) return false;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

bool parse_credentials(std::string_view text, Url& url, std::string& error) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    error = "there is a user without a password (user:password@, or :password@ without a user)";
    return false;
  }
  if (percent_decode(text.substr(0, colon), url.user) && percent_decode(text.substr(colon + 1), url.password)) {
    if (!url.password.empty()) return true;
    error = "the password is empty";
    return false;
  }
  error = "user or password has a '%' that two hexadecimal digits do not follow";
  return false;
}

}  // namespace

bool parse_host_port(std::string_view text, uint16_t default_port, HostPort& out, std::string& error) {
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return error = "there is a '[' without a ']'", false;
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return error = "after ']' a ':' and a port is expected", false;
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return error = "an IPv6 address needs brackets: [address]:port", false;
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (host.empty()) return error = "the host is missing", false;
  for (const char c : host) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '/' || c == '@') {
      return error = "the host has a character that no host name has", false;
    }
  }
  out.host = host;
  out.port = default_port;
  if (has_port && (!parse_number(port, out.port) || out.port == 0)) {
    return error = "the port is not a number from 1 to 65535", false;
  }
  return true;
}

bool parse_url(std::string_view text, Url& url, std::string& error, bool needs_server) {
  url = {};
  if (!text.starts_with(kScheme)) return error = "it does not start with redis://", false;
  text.remove_prefix(kScheme.size());
  // A password may have an unescaped '@' or '/': what counts is the last '@'.
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    if (!parse_credentials(text.substr(0, at), url, error)) return false;
    text.remove_prefix(at + 1);
  }
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view database = text.substr(slash + 1);
    if (!database.empty() && (!parse_number(database, url.database) ||
                              url.database > static_cast<uint32_t>(std::numeric_limits<int32_t>::max()))) {
      return error = "what follows the '/' is not the number of a database", false;
    }
    text = text.substr(0, slash);
  }
  if (text.empty() && !needs_server) return true;
  return parse_host_port(text, kPort, url.server, error);
}

std::string to_text(const HostPort& server) {
  const bool v6 = server.host.find(':') != std::string::npos;
  return (v6 ? "[" + server.host + "]" : server.host) + ":" + std::to_string(server.port);
}

}  // namespace redis
