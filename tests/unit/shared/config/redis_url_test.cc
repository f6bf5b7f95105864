#include "shared/config/redis_url.h"

#include <doctest/doctest.h>

using namespace config;

namespace {

std::string wrong_with(std::string_view url) {
  const auto parsed = parse_redis_url(url);
  const auto* wrong = std::get_if<std::string>(&parsed);
  return wrong == nullptr ? "" : wrong->substr(0, wrong->find(','));
}

RedisUrl right(std::string_view url) {
  INFO(url);
  REQUIRE(wrong_with(url) == "");
  return std::get<RedisUrl>(parse_redis_url(url));
}

}  // namespace

TEST_CASE("redis url: what is not said has its default") {
  CHECK(right("redis://h") == RedisUrl{{"h", 6379}, "", "", 0});
  CHECK(right("redis://h/") == RedisUrl{{"h", 6379}, "", "", 0});
  CHECK(right("redis://10.0.0.1:7000/15") == RedisUrl{{"10.0.0.1", 7000}, "", "", 15});
  CHECK(right("redis://[::1]:7/2") == RedisUrl{{"::1", 7}, "", "", 2});
  CHECK(right("redis://:secret@h") == RedisUrl{{"h", 6379}, "", "secret", 0});
  CHECK(right("redis://me:a%40b%2Fc:@h:1") == RedisUrl{{"h", 1}, "me", "a@b/c:", 0});
  CHECK(right("redis://me:secret@/3") == RedisUrl{{"", 6379}, "me", "secret", 3});
}

TEST_CASE("redis url: what is wrong is said without repeating it") {
  CHECK(wrong_with("h:6379") == "not a Redis URL");
  CHECK(wrong_with("http://h") == "not a Redis URL");
  CHECK(wrong_with("") == "not a Redis URL");
  CHECK(wrong_with("rediss://h") == "TLS to Redis (rediss://) is not in this build");
  for (const char* url : {"redis://h/x", "redis://h/-1", "redis://h/65536", "redis://h/0?a=b", "redis://h/0/1"}) {
    CHECK(wrong_with(url) == "what is behind the \"/\" is no database number");
  }
  CHECK(wrong_with("redis://secret@h") == "there is no \":PASSWORD\" before the \"@\"");
  CHECK(wrong_with("redis://me:@h") == "the password is empty");
  CHECK(wrong_with("redis://me:a%4@h") == "a \"%\" in the credentials has no two hexadecimal digits behind it");
  for (const char* url : {"redis://h:0", "redis://h:65536", "redis://h:", "redis://h:6379x", "redis://a b",
                          "redis://[::1", "redis://[]", "redis://[::1]x", "redis://::1"}) {
    CHECK(wrong_with(url) == "host or port is malformed");
  }
}

TEST_CASE("redis url: a server, and back to text") {
  HostPort server;
  CHECK(parse_host_port("s1", kSentinelPort, server));
  CHECK(server == HostPort{"s1", 26379});
  CHECK(to_text(server) == "s1:26379");
  CHECK(parse_host_port("[::1]:5", kSentinelPort, server));
  CHECK(to_text(server) == "[::1]:5");
  CHECK_FALSE(parse_host_port("s1/x", 1, server));
}

TEST_CASE("redis url: passwords are masked wherever they stand") {
  CHECK(mask_passwords("redis://me:secret@h:1/0") == "redis://me:***@h:1/0");
  CHECK(mask_passwords("redis://:secret@h") == "redis://:***@h");
  CHECK(mask_passwords("redis://secret@h") == "redis://***@h");
  CHECK(mask_passwords("redis://me:a@b/c@h") == "redis://me:***@h");
  CHECK(mask_passwords("redis://h:1") == "redis://h:1");
  CHECK(mask_passwords(R"({"a":"redis://x:y\"z@h","b":"c@d://e:f@g"})") ==
        R"({"a":"redis://x:***@h","b":"c@d://e:***@g"})");
  CHECK(mask_passwords("://") == "://");
  CHECK(mask_passwords("://a\\") == "://a\\");
  CHECK(mask_passwords("nothing@all") == "nothing@all");
}
