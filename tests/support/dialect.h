// Words of the dialect of tests/vectors for what bus::Writer writes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace support {

// A whole number of `size` bytes, little endian.
inline std::string number(uint64_t value, int size = 8) {
  std::string hex = " ";
  char digits[4];
  for (int i = 0; i < size; ++i, value >>= 8) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(value & 0xFF));
    hex += digits;
  }
  return hex + " ";
}

// A text behind its length.
inline std::string text(const std::string& s) {
  return number(s.size(), 2) + '"' + s + "\" ";
}

}  // namespace support
