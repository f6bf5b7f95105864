// Topic names, topic filters and the rules that bind them. [MQTT5 4.7], [MQTT5 4.8.2]
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace proto {

// Non-empty, valid MQTT UTF-8 is assumed; no wildcard. [MQTT-3.3.2-2], [MQTT-4.7.3-1]
bool is_valid_topic_name(std::string_view topic);
// Non-empty, '#' only last and alone in its level, '+' alone in its level. Does not treat "$share" specially.
bool is_valid_topic_filter(std::string_view filter);
bool has_wildcard(std::string_view filter);

// "$share/{group}/{filter}". nullopt: not a shared subscription. An invalid one (empty or wildcard group, empty
// filter) gives an empty `filter`. [MQTT-4.8.2-1], [MQTT-4.8.2-2]
struct SharedFilter {
  std::string_view group;
  std::string_view filter;
};
std::optional<SharedFilter> parse_shared_filter(std::string_view filter);

// The reference matcher, used by tests and where only one filter is at hand. '$'-topics are not matched by a leading
// wildcard. [MQTT-4.7.2-1] REQUIRES: both valid.
bool matches(std::string_view filter, std::string_view topic);

// Number of levels ("a/b" has 2, "/" has 2).
size_t level_count(std::string_view topic);

// Splits off the first level: for (LevelReader r(topic); r.next(level);) ...
class LevelReader {
 public:
  explicit LevelReader(std::string_view topic) : rest_(topic) {}
  bool next(std::string_view& level) {
    if (done_) return false;
    const size_t slash = rest_.find('/');
    if (slash == std::string_view::npos) {
      level = rest_;
      done_ = true;
    } else {
      level = rest_.substr(0, slash);
      rest_.remove_prefix(slash + 1);
    }
    return true;
  }
  // True when the level just returned was the last one.
  bool at_end() const { return done_; }

 private:
  std::string_view rest_;
  bool done_ = false;
};

}  // namespace proto
