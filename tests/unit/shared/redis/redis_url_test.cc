#include "shared/redis/redis_url.h"

#include <doctest/doctest.h>

namespace {

using redis::HostPort;
using redis::Url;

TEST_CASE("redis_url: what a url may be") {
  const struct {
    const char* text;
    Url url;
  } rows[] = {
      {"redis://h", {{"h", 6379}, "", "", 0}},
      {"redis://h:1", {{"h", 1}, "", "", 0}},
      {"redis://10.0.0.1:6380/15", {{"10.0.0.1", 6380}, "", "", 15}},
      {"redis://h/", {{"h", 6379}, "", "", 0}},
      {"redis://[::1]", {{"::1", 6379}, "", "", 0}},
      {"redis://[fe80::2]:7/1", {{"fe80::2", 7}, "", "", 1}},
      {"redis://:pw@h", {{"h", 6379}, "", "pw", 0}},
      {"redis://user:pw@h:1/2", {{"h", 1}, "user", "pw", 2}},
      {"redis://u%3A%40:%2f%25%00x@h", {{"h", 6379}, "u:@", std::string("/%\0x", 4), 0}},
      {"redis://u:a@b/c:d@h", {{"h", 6379}, "u", "a@b/c:d", 0}},
  };
  for (const auto& row : rows) {
    INFO(row.text);
    Url url;
    std::string error;
    CHECK(redis::parse_url(row.text, url, error));
    CHECK(url == row.url);
    CHECK(error.empty());
  }
}

TEST_CASE("redis_url: what it may not be, and what is said then") {
  const struct {
    const char* text;
    const char* says;
  } rows[] = {
      {"", "redis://"},
      {"h:6379", "redis://"},
      {"rediss://h", "redis://"},
      {"redis://", "host is missing"},
      {"redis://:6379", "host is missing"},
      {"redis:///1", "host is missing"},
      {"redis://h:", "port"},
      {"redis://h:0", "port"},
      {"redis://h:65536", "port"},
      {"redis://h:1x", "port"},
      {"redis://h:-1", "port"},
      {"redis://::1", "brackets"},
      {"redis://[::1", "']'"},
      {"redis://[::1]6379", "':'"},
      {"redis://[]:6379", "host is missing"},
      {"redis://h/x", "database"},
      {"redis://h/1/2", "database"},
      {"redis://h/4294967295", "database"},
      {"redis://user@h", "without a password"},
      {"redis://user:@h", "password is empty"},
      {"redis://u:%4@h", "hexadecimal"},
      {"redis://u:%zz@h", "hexadecimal"},
      {"redis://a b", "character"},
  };
  for (const auto& row : rows) {
    INFO(row.text);
    Url url;
    std::string error;
    CHECK_FALSE(redis::parse_url(row.text, url, error));
    CHECK(error.find(row.says) != std::string::npos);
  }
}

TEST_CASE("redis_url: an error does not quote the password") {
  Url url;
  std::string error;
  CHECK_FALSE(redis::parse_url("redis://u:s3cret%@h", url, error));
  CHECK_FALSE(redis::parse_url("redis://u:s3cret@h:s3cret", url, error));
  CHECK(error.find("s3cret") == std::string::npos);
}

TEST_CASE("redis_url: with sentinels no server is needed") {
  Url url;
  std::string error;
  CHECK(redis::parse_url("redis://u:pw@/3", url, error, false));
  CHECK(url == Url{{"", 0}, "u", "pw", 3});
  CHECK(redis::parse_url("redis://", url, error, false));
  CHECK_FALSE(redis::parse_url("redis://:x", url, error, false));
}

TEST_CASE("redis_url: sentinels, and back to text") {
  HostPort server;
  std::string error;
  CHECK(redis::parse_host_port("s1", 26379, server, error));
  CHECK(server == HostPort{"s1", 26379});
  CHECK(redis::to_text(server) == "s1:26379");
  CHECK(redis::parse_host_port("[::1]:5", 26379, server, error));
  CHECK(redis::to_text(server) == "[::1]:5");
  CHECK_FALSE(redis::parse_host_port("s1/x", 1, server, error));
}

}  // namespace
