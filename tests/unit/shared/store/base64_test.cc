#include "shared/store/base64.h"

#include <doctest/doctest.h>

#include "shared/base/random.h"

using namespace store;

TEST_CASE("base64: the vectors of RFC 4648") {
  const std::pair<std::string, std::string> rows[] = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"},
                                                      {"\xFB\xFF", "+/8="}};
  for (const auto& [bytes, text] : rows) {
    CHECK(to_base64(bytes) == text);
    CHECK(from_base64(text) == bytes);
  }
}

TEST_CASE("base64: what nobody writes is refused") {
  for (const char* text : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm-v"}) {
    INFO(text);
    CHECK_FALSE(from_base64(text).has_value());
  }
}

TEST_CASE("base64: random bytes there and back") {
  const uint64_t seed = base::entropy();
  INFO("seed " << seed);
  base::Random random(seed);
  for (int round = 0; round < 1000; ++round) {
    std::string bytes(random.below(50), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.below(256));
    CHECK(from_base64(to_base64(bytes)) == bytes);
  }
}
