// Writes MQTT's data representations. [MQTT5 1.5]
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "proto/types.h"

namespace proto {

constexpr size_t variable_size(uint64_t value) {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20'0000 ? 3 : 4;
}

// Into memory that is known to be large enough; each returns the end of what it wrote.
inline char* put_u8(char* out, unsigned value) {
  *out = static_cast<char>(value);
  return out + 1;
}
inline char* put_u16(char* out, unsigned value) {
  out[0] = static_cast<char>(value >> 8);
  out[1] = static_cast<char>(value);
  return out + 2;
}
inline char* put_u32(char* out, uint32_t value) {
  return put_u16(put_u16(out, value >> 16), value & 0xFFFF);
}
// REQUIRES: value <= kMaxVariableByteInteger.
inline char* put_variable(char* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out = put_u8(out, static_cast<unsigned>(value & 0x7F) | 0x80);
  return put_u8(out, static_cast<unsigned>(value));
}
inline char* put_bytes(char* out, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}
// REQUIRES: at most 65535 bytes.
inline char* put_prefixed(char* out, std::string_view bytes) {
  assert(bytes.size() <= 0xFFFF);
  return put_bytes(put_u16(out, static_cast<unsigned>(bytes.size())), bytes);
}

// The same, appended to a string.
class ByteWriter {
 public:
  // `out` must outlive the writer.
  explicit ByteWriter(std::string& out) : out_(out) {}

  void u8(unsigned value) { out_.push_back(static_cast<char>(value)); }
  void u16(unsigned value) {
    u8(value >> 8);
    u8(value & 0xFF);
  }
  void u32(uint32_t value) {
    u16(value >> 16);
    u16(value & 0xFFFF);
  }
  void variable(uint32_t value) { insert_variable(out_.size(), value); }
  void bytes(std::string_view value) { out_.append(value); }
  void prefixed(std::string_view value) {
    assert(value.size() <= 0xFFFF);
    u16(static_cast<unsigned>(value.size()));
    bytes(value);
  }

  // Runs `body`, which appends bytes, and puts their length as a Variable Byte Integer in front of them.
  template <typename Body>
  void counted(Body body) {
    const size_t start = out_.size();
    body();
    insert_variable(start, out_.size() - start);
  }

 private:
  void insert_variable(size_t at, size_t value) {
    assert(value <= kMaxVariableByteInteger);
    char digits[4];
    const char* end = put_variable(digits, value);
    out_.insert(at, digits, static_cast<size_t>(end - digits));
  }

  std::string& out_;
};

}  // namespace proto
