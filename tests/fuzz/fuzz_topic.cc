// The topic functions and the UTF-8 check against implementations too simple to be wrong.
//
// Input: a filter, a newline, a topic.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "proto/topic.h"
#include "proto/utf8.h"

using namespace proto;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

using Levels = std::vector<std::string>;

Levels split(std::string_view text) {
  Levels levels(1);
  for (const char c : text) {
    if (c == '/') {
      levels.emplace_back();
    } else {
      levels.back() += c;
    }
  }
  return levels;
}

bool contains_wildcard(std::string_view text) {
  return text.find_first_of("+#") != text.npos;
}

bool naive_is_filter(std::string_view text) {
  const Levels levels = split(text);
  for (size_t i = 0; i < levels.size(); ++i) {
    if (levels[i] == "+" || (levels[i] == "#" && i + 1 == levels.size())) continue;
    if (contains_wildcard(levels[i])) return false;
  }
  return !text.empty();
}

bool naive_match(const Levels& filter, const Levels& topic, size_t at) {
  if (at == filter.size()) return at == topic.size();
  if (filter[at] == "#") return true;
  if (at == topic.size()) return false;
  return (filter[at] == "+" || filter[at] == topic[at]) && naive_match(filter, topic, at + 1);
}

bool naive_matches(std::string_view filter, std::string_view topic) {
  if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#')) return false;
  return naive_match(split(filter), split(topic), 0);
}

// Decodes code points and asks of each whether it was allowed to be written like that.
bool naive_is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
    const unsigned lead = byte(i);
    const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; ++k) {
      if (byte(i + k) >> 6 != 2) return false;
      code = code << 6 | (byte(i + k) & 0x3F);
    }
    constexpr uint32_t kSmallest[] = {0, 1, 0x80, 0x800, 0x10000};
    if (code < kSmallest[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    i += length;
  }
  return true;
}

void check_shared(std::string_view filter) {
  const auto shared = parse_shared_filter(filter);
  const Levels levels = split(filter);
  require(shared.has_value() == (levels[0] == "$share" && levels.size() > 1));
  if (!shared) return;
  require(shared->group == levels[1]);
  const bool valid = !levels[1].empty() && !contains_wildcard(levels[1]) && levels.size() > 2;
  if (!valid) return require(shared->filter.empty());
  require("$share/" + levels[1] + "/" + std::string(shared->filter) == filter);
}

void check_levels(std::string_view text) {
  Levels levels;
  LevelReader reader(text);
  for (std::string_view level; reader.next(level);) levels.emplace_back(level);
  require(levels == split(text));
  require(reader.at_end());
  require(level_count(text) == levels.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t newline = std::min(input.find('\n'), size);
  // Copies of their own, so that a byte read past the end shows.
  const std::vector<char> first(input.begin(), input.begin() + static_cast<long>(newline));
  const std::vector<char> second(input.begin() + static_cast<long>(std::min(newline + 1, size)), input.end());
  const std::string_view filter(first.data(), first.size());
  const std::string_view topic(second.data(), second.size());

  for (const std::string_view text : {filter, topic}) {
    require(is_valid_utf8(text) == naive_is_utf8(text));
    require(has_wildcard(text) == contains_wildcard(text));
    require(is_valid_topic_name(text) == (!text.empty() && !contains_wildcard(text)));
    require(is_valid_topic_filter(text) == naive_is_filter(text));
    check_shared(text);
    check_levels(text);
  }
  if (is_valid_topic_filter(filter) && is_valid_topic_name(topic)) {
    require(matches(filter, topic) == naive_matches(filter, topic));
  }
  return 0;
}
