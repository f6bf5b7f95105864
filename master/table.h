// Lines of columns, as Workerman prints them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace master {

using Row = std::vector<std::string>;

// Every column as wide as its widest cell, and two spaces between.
std::string align(const std::vector<Row>& rows);

// "------ TITLE ------", `width` wide.
std::string rule(std::string_view title, size_t width);

}  // namespace master
