#include "master/table.h"

#include <algorithm>

namespace master {

std::string align(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    out += line + '\n';
  }
  return out;
}

std::string rule(std::string_view title, size_t width) {
  const std::string text = title.empty() ? "" : ' ' + std::string(title) + ' ';
  const size_t dashes = width > text.size() ? width - text.size() : 0;
  return std::string(dashes / 2, '-') + text + std::string(dashes - dashes / 2, '-') + '\n';
}

}  // namespace master
