// Reads MQTT's data representations from a span of bytes. [MQTT5 1.5]
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/types.h"

namespace proto {

// Every read returns false, and consumes nothing that matters any more, when the bytes run out or break the
// representation's rules. Strings are views into the input and are not checked for UTF-8.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  size_t left() const { return static_cast<size_t>(end_ - at_); }
  bool empty() const { return at_ == end_; }

  bool u8(uint8_t& value) {
    if (left() < 1) return false;
    value = byte(0);
    at_ += 1;
    return true;
  }
  bool u16(uint16_t& value) {
    if (left() < 2) return false;
    value = static_cast<uint16_t>(byte(0) << 8 | byte(1));
    at_ += 2;
    return true;
  }
  bool u32(uint32_t& value) {
    if (left() < 4) return false;
    value = uint32_t{byte(0)} << 24 | uint32_t{byte(1)} << 16 | uint32_t{byte(2)} << 8 | uint32_t{byte(3)};
    at_ += 4;
    return true;
  }
  // At most four bytes, and no more of them than the value needs. [MQTT-1.5.5-1]
  bool variable(uint32_t& value) {
    value = 0;
    for (unsigned shift = 0; shift <= 21; shift += 7) {
      uint8_t next;
      if (!u8(next)) return false;
      value |= uint32_t{next & 0x7Fu} << shift;
      if (next < 0x80) return next != 0 || shift == 0;
    }
    return false;
  }
  bool take(size_t size, std::string_view& value) {
    if (left() < size) return false;
    value = std::string_view(at_, size);
    at_ += size;
    return true;
  }
  // A two byte length and that many bytes: a string or binary data.
  bool prefixed(std::string_view& value) {
    uint16_t size;
    return u16(size) && take(size, value);
  }
  std::string_view rest() {
    const std::string_view value(at_, left());
    at_ = end_;
    return value;
  }

 private:
  uint8_t byte(size_t i) const { return static_cast<uint8_t>(at_[i]); }

  const char* at_;
  const char* end_;
};

}  // namespace proto
