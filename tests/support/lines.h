// What happened, one line of text an event: compared as a whole, printed when it differs.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace support {

using Lines = std::vector<std::string>;

// The lines so far; the next call begins anew.
inline Lines take(Lines& lines) {
  return std::exchange(lines, {});
}

}  // namespace support

namespace doctest {
template <>
struct StringMaker<support::Lines> {
  static String convert(const support::Lines& lines) {
    std::string text = "[" + std::to_string(lines.size()) + "]";
    for (const std::string& line : lines) text += "\n    " + line;
    return text.c_str();
  }
};
}  // namespace doctest
