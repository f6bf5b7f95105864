#include "shared/config/json_text.h"

#include <algorithm>
#include <set>

namespace config {
namespace {

std::string line_and_column(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte == 0 ? 0 : byte - 1, text.size()));
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n');  // npos + 1 == 0
  return "line " + std::to_string(lines + 1) + ", column " + std::to_string(before.size() - (line_start + 1) + 1);
}

// The library's message without its number and position.
std::string reason(std::string_view what) {
  const size_t column = what.find("column ");
  const size_t colon = column == std::string_view::npos ? column : what.find(": ", column);
  if (colon != std::string_view::npos) return std::string(what.substr(colon + 2));
  return std::string(what.substr(what.find("] ") + 2));
}

// Follows the parser's events and knows the path of each key.
class DuplicateFinder {
 public:
  explicit DuplicateFinder(std::vector<Problem>& problems) : problems_(problems) {}

  void on_event(Json::parse_event_t event, const Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
        open(false);
        return;
      case Json::parse_event_t::array_start:
        open(true);
        return;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        levels_.pop_back();
        return;
      case Json::parse_event_t::key:
        on_key(parsed.get<std::string>());
        return;
      case Json::parse_event_t::value:
        next_element();
        return;
    }
  }

 private:
  struct Level {
    std::string path;
    bool array;
    size_t index = 0;
    std::string key;
    std::set<std::string> keys;
  };

  // The path of what stands at the current place.
  std::string here() const {
    if (levels_.empty()) return {};
    const Level& level = levels_.back();
    if (level.array) return level.path + '[' + std::to_string(level.index) + ']';
    return join_path(level.path, level.key);
  }
  void open(bool array) {
    std::string path = here();
    next_element();
    levels_.push_back({std::move(path), array, 0, {}, {}});
  }
  void next_element() {
    if (!levels_.empty() && levels_.back().array) ++levels_.back().index;
  }
  void on_key(std::string key) {
    Level& level = levels_.back();
    level.key = std::move(key);
    if (!level.keys.insert(level.key).second) problems_.push_back({here(), "given twice"});
  }

  std::vector<Problem>& problems_;
  std::vector<Level> levels_;
};

}  // namespace

std::string join_path(const std::string& parent, std::string_view key) {
  const bool plain = !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  if (!plain) {
    return parent + '[' + Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + ']';
  }
  return parent.empty() ? std::string(key) : parent + '.' + std::string(key);
}

std::optional<Json> parse_json(std::string_view text, std::vector<Problem>& problems) {
  DuplicateFinder finder(problems);
  const auto callback = [&](int, Json::parse_event_t event, Json& parsed) {
    finder.on_event(event, parsed);
    return true;
  };
  try {
    return Json::parse(text, callback, true, true);
  } catch (const Json::parse_error& error) {
    problems.push_back({line_and_column(text, error.byte), reason(error.what())});
  } catch (const Json::exception& error) {
    problems.push_back({"", reason(error.what())});
  }
  return std::nullopt;
}

}  // namespace config
