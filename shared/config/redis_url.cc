#include "shared/config/redis_url.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace config {
namespace {

constexpr std::string_view kScheme = "redis://";
constexpr uint32_t kMaxDatabase = 65535;

std::string expected(std::string_view wrong) {
  return std::string(wrong) + ", expected \"redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]\"";
}

template <typename T>
bool parse_number(std::string_view text, T& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    uint8_t byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

bool plain_host(std::string_view host) {
  return std::ranges::all_of(host,
                             [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_'; });
}

bool ipv6_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return std::isxdigit(c) != 0 || c == ':' || c == '.' || c == '%';
  });
}

}  // namespace

bool parse_host_port(std::string_view text, uint16_t default_port, HostPort& to) {
  const bool bracketed = text.starts_with('[');
  const size_t end = bracketed ? text.find(']') : text.find(':');
  if (bracketed && end == std::string_view::npos) return false;
  const std::string_view host = bracketed ? text.substr(1, end - 1) : text.substr(0, end);
  const std::string_view rest =
      end == std::string_view::npos ? std::string_view() : text.substr(end + (bracketed ? 1 : 0));
  if (bracketed ? !ipv6_host(host) : !plain_host(host)) return false;
  to.host = host;
  to.port = default_port;
  return rest.empty() || (rest[0] == ':' && parse_number(rest.substr(1), to.port) && to.port != 0);
}

std::string to_text(const HostPort& server) {
  const bool v6 = server.host.find(':') != std::string::npos;
  return (v6 ? "[" + server.host + "]" : server.host) + ":" + std::to_string(server.port);
}

std::variant<RedisUrl, std::string> parse_redis_url(std::string_view url) {
  RedisUrl out;
  if (url.starts_with("rediss://"))
    return std::string("TLS to Redis (rediss://) is not in this build, expected redis://");
  if (!url.starts_with(kScheme)) return expected("not a Redis URL");
  std::string_view rest = url.substr(kScheme.size());
  // A raw "/" is not allowed in what comes before the host, so the first one ends it.
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view database = rest.substr(slash + 1);
    if (!database.empty() && (!parse_number(database, out.database) || out.database > kMaxDatabase)) {
      return expected("what is behind the \"/\" is no database number");
    }
    rest = rest.substr(0, slash);
  }
  if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
    const std::string_view credentials = rest.substr(0, at);
    const size_t colon = credentials.find(':');
    if (colon == std::string_view::npos) return expected("there is no \":PASSWORD\" before the \"@\"");
    const auto user = percent_decoded(credentials.substr(0, colon));
    const auto password = percent_decoded(credentials.substr(colon + 1));
    if (!user || !password) return expected("a \"%\" in the credentials has no two hexadecimal digits behind it");
    if (password->empty()) return expected("the password is empty");
    out.user = *user;
    out.password = *password;
    rest = rest.substr(at + 1);
  }
  if (!parse_host_port(rest, kRedisPort, out.server)) return expected("host or port is malformed");
  return out;
}

std::string mask_passwords(std::string_view text) {
  std::string out;
  for (size_t begin = text.find("://"); begin != std::string_view::npos; begin = text.find("://")) {
    begin += 3;
    out += text.substr(0, begin);
    text.remove_prefix(begin);
    size_t end = 0;  // of the JSON text the URL is in, or of everything
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    const size_t at = text.substr(0, end).rfind('@');
    if (at == std::string_view::npos) continue;
    const std::string_view credentials = text.substr(0, at);
    const size_t colon = credentials.find(':');
    if (colon != std::string_view::npos) out += credentials.substr(0, colon + 1);
    out += "***";
    text.remove_prefix(at);
  }
  return out.append(text);
}

}  // namespace config
