#include "proto/utf8.h"

#include <cstdint>
#include <cstring>

namespace proto {

namespace {

constexpr uint64_t kOnes = 0x0101'0101'0101'0101;
constexpr uint64_t kHighs = 0x8080'8080'8080'8080;

// True when all eight bytes are 0x01..0x7F: subtracting one from each sets a high bit at a zero and nowhere before it.
bool is_plain(const char* eight) {
  uint64_t word;
  std::memcpy(&word, eight, sizeof word);
  return (((word - kOnes) | word) & kHighs) == 0;
}

// Length of the well-formed sequence at `at`, 0 if there is none. [Unicode table 3-7]
size_t sequence_length(const unsigned char* at, size_t left) {
  const unsigned lead = at[0];
  if (lead < 0x80) return lead != 0 ? 1 : 0;  // [MQTT-1.5.4-2]
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (lead < 0xC2 || lead > 0xF4 || left < length) return 0;
  // The second byte's range excludes overlong forms, surrogates [MQTT-1.5.4-1] and what lies beyond U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (text.size() - i >= 8 && is_plain(text.data() + i)) {
      i += 8;
      continue;
    }
    const size_t length = sequence_length(reinterpret_cast<const unsigned char*>(text.data()) + i, text.size() - i);
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace proto
