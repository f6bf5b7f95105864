#include "shared/log/format.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace logging;

namespace {

constexpr uint64_t kTime = 1795407170123;  // 2026-11-23T04:12:50.123Z

std::string text(std::string_view event, std::vector<Field> fields = {}) {
  return format_line(Format::text, kTime, Level::info, "mqtt/0", event, fields);
}
std::string json(std::string_view event, std::vector<Field> fields = {}) {
  return format_line(Format::json, kTime, Level::warn, "mqtt/0", event, fields);
}

}  // namespace

TEST_CASE("log format: a text line") {
  CHECK(text("client connected", {{"client_id", "a"}, {"peer", "127.0.0.1:5"}, {"n", 7}}) ==
        "2026-11-23T04:12:50.123Z info  mqtt/0 client connected client_id=a peer=127.0.0.1:5 n=7");
}

TEST_CASE("log format: a JSON line") {
  CHECK(
      json("client connected", {{"client_id", "a"}, {"n", -7}}) ==
      R"({"time":"2026-11-23T04:12:50.123Z","level":"warn","process":"mqtt/0","event":"client connected","client_id":"a","n":-7})");
}

TEST_CASE("log format: a value cannot forge a line or a field") {
  struct Row {
    std::string_view value, in_text, in_json;
  };
  const Row rows[] = {
      {"", R"("")", R"("")"},
      {"a b", R"("a b")", R"("a b")"},
      {"a=b", R"("a=b")", R"("a=b")"},
      {"a\nb", R"("a\x0ab")", R"("a\u000ab")"},
      {"q\"\\", R"("q\"\\")", R"("q\"\\")"},
      {"\x1b[31m", R"("\x1b[31m")", R"("\u001b[31m")"},
      {"\x7f", R"("\x7f")", R"("\u007f")"},
      {"\xc2\x85", R"("\xc2\x85")", R"("\u00c2\u0085")"},  // U+0085, a line end to some
      {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
      {"\xe4\xb8\xad", "\xe4\xb8\xad", "\"\xe4\xb8\xad\""},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      {"\xff", R"("\xff")", R"("\u00ff")"},
      {"\xc3", R"("\xc3")", R"("\u00c3")"},                              // cut off
      {"\xe0\x80\x80", R"("\xe0\x80\x80")", R"("\u00e0\u0080\u0080")"},  // overlong
      {"\xed\xa0\x80", R"("\xed\xa0\x80")", R"("\u00ed\u00a0\u0080")"},  // a surrogate
      {"\xf4\x90\x80\x80", R"("\xf4\x90\x80\x80")", R"("\u00f4\u0090\u0080\u0080")"},
  };
  for (const Row& row : rows) {
    CHECK(text("e", {{"k", row.value}}).ends_with(" e k=" + std::string(row.in_text)));
    CHECK(json("e", {{"k", row.value}}).ends_with(R"(,"k":)" + std::string(row.in_json) + "}"));
  }
}
