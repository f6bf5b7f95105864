#include "proto/topic.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace proto {

namespace {

constexpr uint64_t kOnes = 0x0101'0101'0101'0101;
constexpr uint64_t kHighs = 0x8080'8080'8080'8080;
constexpr std::string_view kSharePrefix = "$share/";

constexpr uint64_t zero_bytes(uint64_t word) {
  return (word - kOnes) & ~word & kHighs;
}

bool has_wildcard_in_word(const char* eight) {
  uint64_t word;
  std::memcpy(&word, eight, sizeof word);
  return (zero_bytes(word ^ (kOnes * '+')) | zero_bytes(word ^ (kOnes * '#'))) != 0;
}

}  // namespace

bool has_wildcard(std::string_view filter) {
  if (filter.size() < 8) return std::any_of(filter.begin(), filter.end(), [](char c) { return c == '+' || c == '#'; });
  for (size_t i = 0; i + 8 < filter.size(); i += 8) {
    if (has_wildcard_in_word(filter.data() + i)) return true;
  }
  return has_wildcard_in_word(filter.data() + filter.size() - 8);
}

bool is_valid_topic_name(std::string_view topic) {
  return !topic.empty() && !has_wildcard(topic);
}

bool is_valid_topic_filter(std::string_view filter) {
  if (filter.empty()) return false;  // [MQTT-4.7.3-1]
  LevelReader levels(filter);
  for (std::string_view level; levels.next(level);) {
    if (!has_wildcard(level)) continue;
    if (level.size() != 1) return false;                    // [MQTT-4.7.1-1], [MQTT-4.7.1-2]
    if (level[0] == '#' && !levels.at_end()) return false;  // [MQTT-4.7.1-1]
  }
  return true;
}

std::optional<SharedFilter> parse_shared_filter(std::string_view filter) {
  if (!filter.starts_with(kSharePrefix)) return std::nullopt;
  filter.remove_prefix(kSharePrefix.size());
  const size_t slash = filter.find('/');
  SharedFilter shared{filter.substr(0, slash), {}};
  const bool named = !shared.group.empty() && !has_wildcard(shared.group);  // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
  if (named && slash != std::string_view::npos) shared.filter = filter.substr(slash + 1);
  return shared;
}

bool matches(std::string_view filter, std::string_view topic) {
  if (topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'))) return false;  // [MQTT-4.7.2-1]
  LevelReader wanted(filter);
  LevelReader levels(topic);
  std::string_view want;
  std::string_view level;
  while (wanted.next(want)) {
    if (want == "#") return true;
    if (!levels.next(level)) return false;
    if (want != "+" && want != level) return false;
    // "a/#" matches "a" as well.
    if (levels.at_end() && !wanted.at_end()) return wanted.next(want) && want == "#";
  }
  return levels.at_end();
}

size_t level_count(std::string_view topic) {
  return 1 + static_cast<size_t>(std::count(topic.begin(), topic.end(), '/'));
}

}  // namespace proto
