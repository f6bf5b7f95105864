#include "shared/redis/redis_reply.h"

#include <doctest/doctest.h>

#include "shared/redis/redis_command.h"

namespace {

using namespace std::string_literals;
using redis::Reply;
using redis::ReplyReader;

constexpr size_t kRoom = 1 << 20;

Reply text(std::string value) {
  return {Reply::Type::text, 0, std::move(value), {}};
}
Reply number(int64_t value) {
  return {Reply::Type::integer, value, {}, {}};
}
Reply array(std::vector<Reply> items) {
  return {Reply::Type::array, 0, {}, std::move(items)};
}

// All replies in `bytes`, fed in pieces; or the error.
std::string read(std::string_view bytes, size_t piece, std::vector<Reply>& replies, size_t max_bytes = kRoom,
                 size_t max_values = 1000) {
  ReplyReader reader(max_bytes, max_values);
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (auto reply = reader.next()) replies.push_back(std::move(*reply));
  }
  return reader.error();
}

TEST_CASE("redis_reply: all kinds of replies, whole and in pieces of any size") {
  const std::string bytes =
      "+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\0b\r\n$-1\r\n*-1\r\n*0\r\n"
      "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*1\r\n$-1\r\n+s\r\n$0\r\n\r\n"s;
  const std::vector<Reply> expected = {
      {Reply::Type::status, 0, "OK", {}},
      {Reply::Type::error, 0, "ERR no", {}},
      number(-7),
      text(std::string("a\0b", 3)),
      {},
      {},
      array({}),
      array({number(1), array({text("x"), array({{}})}), {Reply::Type::status, 0, "s", {}}}),
      text(""),
  };
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    std::vector<Reply> replies;
    CHECK(read(bytes, piece, replies).empty());
    CHECK(replies == expected);
  }
}

TEST_CASE("redis_reply: what is not a reply is an error, and stays one") {
  const char* rows[] = {"x\r\n", "\r\n", "$-2\r\n", "$x\r\n", "*-2\r\n", "*99999999999\r\n", ":x\r\n", "*1\r\nx"};
  for (const char* bytes : rows) {
    INFO(bytes);
    std::vector<Reply> replies;
    CHECK_FALSE(read(std::string(bytes) + "+OK\r\n", 1, replies).empty());
    CHECK(replies.empty());
  }
}

TEST_CASE("redis_reply: nobody fills our memory") {
  std::vector<Reply> replies;
  CHECK(read("*2000000000\r\n", 100, replies) == "a reply has too many values");
  std::string many = "*1001\r\n";
  for (int i = 0; i < 1001; ++i) many += ":1\r\n";
  CHECK(read(many, 100, replies) == "a reply has too many values");
  CHECK(read("$2000000000\r\n" + std::string(3 << 20, 'x'), 65536, replies) == "a reply is too large");
  CHECK(read("+" + std::string(200'000, 'x'), 65536, replies) == "a line of a reply is too long");
  CHECK(read("$" + std::string(200'000, '1'), 65536, replies) == "a line of a reply is too long");
  CHECK(replies.empty());
  // Many small replies are none of these.
  std::string small;
  for (int i = 0; i < 100'000; ++i) small += "$16\r\n0123456789abcdef\r\n";
  CHECK(read(small, 65536, replies).empty());
  CHECK(replies.size() == 100'000);
}

TEST_CASE("redis_reply: deep nesting is an error") {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "*1\r\n";
  std::vector<Reply> replies;
  CHECK_FALSE(read(deep, 7, replies).empty());
}

TEST_CASE("redis_reply: decimal numbers of 64 bits") {
  CHECK(redis::to_number("0") == 0);
  CHECK(redis::to_number("18446744073709551615") == UINT64_MAX);
  for (const char* wrong : {"", "-1", "+1", " 1", "1 ", "1x", "18446744073709551616"}) {
    CHECK_FALSE(redis::to_number(wrong).has_value());
  }
}

TEST_CASE("redis_command: the wire format") {
  std::string out;
  redis::Command{"SET", std::string_view("k\0", 2)}.add(12u).write_to(out);
  CHECK(out == "*3\r\n$3\r\nSET\r\n$2\r\nk\0\r\n$2\r\n12\r\n"s);
}

}  // namespace
