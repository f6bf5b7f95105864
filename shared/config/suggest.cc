#include "shared/config/suggest.h"

#include <algorithm>
#include <numeric>

namespace config {
namespace {

// Levenshtein's distance.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string did_you_mean(std::string_view word, const std::vector<std::string>& names) {
  if (word.size() > 64) return {};
  const auto best = std::ranges::min_element(names, {}, [&](const std::string& name) { return distance(word, name); });
  const size_t near = std::max<size_t>(1, word.size() / 3);
  if (best == names.end() || distance(word, *best) > near) return {};
  return "; did you mean \"" + *best + "\"?";
}

}  // namespace config
