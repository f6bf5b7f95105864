#include "proto/utf8.h"

#include "tests/unit/proto/wire.h"

using proto::is_valid_utf8;
using wire::bytes;

TEST_CASE("utf8: well-formed") {
  for (const char* text : {"", "\"a\"", "01", "7f", "c280", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbf", "efbbbf",
                           "f0908080", "f48fbfbf", "\"0123456789abcdef\"", "\"1234567\" c3a4 \"89\""}) {
    CAPTURE(text);
    CHECK(is_valid_utf8(bytes(text)));
  }
}

TEST_CASE("utf8: ill-formed, at every offset of a longer text") {
  for (const char* text : {"00",       "80",       "bf",       "c0",       "c080",     "c0af",   "c1bf",     "c2",
                           "c241",     "c2c2",     "e0",       "e0a0",     "e08080",   "e09fbf", "eda080",   "edbfbf",
                           "e1",       "e180",     "e14180",   "e18041",   "f0",       "f0908f", "f0808080", "f08fbfbf",
                           "f4908080", "f1804180", "f1808041", "f5808080", "f8888080", "fe",     "ff"}) {
    CAPTURE(text);
    const std::string wrong = bytes(text);
    for (size_t before = 0; before < 20; ++before) {
      for (const size_t after : {0, 1, 7, 8, 20}) {
        CHECK_FALSE(is_valid_utf8(std::string(before, 'a') + wrong + std::string(after, 'z')));
      }
    }
  }
}

TEST_CASE("utf8: every code point but the surrogates and U+0000") {
  for (uint32_t code = 0; code < 0x11'0000; ++code) {
    std::string text;
    if (code < 0x80) {
      text = {static_cast<char>(code)};
    } else if (code < 0x800) {
      text = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    } else if (code < 0x1'0000) {
      text = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
              static_cast<char>(0x80 | (code & 63))};
    } else {
      text = {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
              static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
    const bool valid = code != 0 && (code < 0xD800 || code > 0xDFFF);
    if (is_valid_utf8(text) != valid) FAIL("code point ", code);
  }
}
