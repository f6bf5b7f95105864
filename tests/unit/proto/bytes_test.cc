// MQTT's data representations: byte_reader.h and byte_writer.h.
#include "proto/byte_reader.h"
#include "proto/byte_writer.h"
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;

namespace {

std::string variable_bytes(uint32_t value) {
  std::string out;
  ByteWriter(out).variable(value);
  return out;
}

bool reads_as_variable(std::string_view input, uint32_t& value) {
  return ByteReader(input).variable(value);
}

}  // namespace

TEST_CASE("bytes: variable byte integers, exact") {
  CHECK(variable_bytes(0) == bytes("00"));
  CHECK(variable_bytes(127) == bytes("7f"));
  CHECK(variable_bytes(128) == bytes("8001"));
  CHECK(variable_bytes(16'383) == bytes("ff7f"));
  CHECK(variable_bytes(16'384) == bytes("808001"));
  CHECK(variable_bytes(2'097'151) == bytes("ffff7f"));
  CHECK(variable_bytes(2'097'152) == bytes("80808001"));
  CHECK(variable_bytes(kMaxVariableByteInteger) == bytes("ffffff7f"));
}

TEST_CASE("bytes: variable byte integers around every power of two") {
  for (uint32_t power = 1; power <= 1u << 27; power *= 2) {
    for (const uint32_t value : {power - 1, power, power + 1, 2 * power - 1}) {
      const std::string encoded = variable_bytes(value);
      CHECK(encoded.size() == variable_size(value));
      uint32_t decoded = 0;
      CHECK(reads_as_variable(encoded, decoded));
      CHECK(decoded == value);
      for (size_t size = 0; size < encoded.size(); ++size) {
        CHECK_FALSE(reads_as_variable(std::string_view(encoded).substr(0, size), decoded));
      }
    }
  }
}

TEST_CASE("bytes: variable byte integers that are too long [MQTT-1.5.5-1]") {
  for (const char* text : {"8000", "ff00", "808000", "80808000", "8080808001", "ffffffff7f", "ffffffff"}) {
    CAPTURE(text);
    uint32_t value = 0;
    CHECK_FALSE(reads_as_variable(bytes(text), value));
  }
}

TEST_CASE("bytes: integers are big-endian and need all their bytes") {
  const std::string input = bytes("01 0203 04050607 0001 78");
  ByteReader reader(input);
  uint8_t one = 0;
  uint16_t two = 0;
  uint32_t four = 0;
  std::string_view text;
  CHECK((reader.u8(one) && reader.u16(two) && reader.u32(four) && reader.prefixed(text)));
  CHECK(one == 0x01);
  CHECK(two == 0x0203);
  CHECK(four == 0x04050607);
  CHECK(text == "x");
  CHECK(reader.empty());
  CHECK_FALSE(reader.u8(one));
  CHECK_FALSE(ByteReader("a").u16(two));
  CHECK_FALSE(ByteReader("abc").u32(four));
  CHECK_FALSE(ByteReader("a").prefixed(text));
  CHECK_FALSE(ByteReader(std::string_view("\0\2a", 3)).prefixed(text));
}

TEST_CASE("bytes: the writers agree") {
  std::string appended;
  ByteWriter writer(appended);
  writer.u8(0x01);
  writer.u16(0x0203);
  writer.u32(0x04050607);
  writer.counted([&] { writer.prefixed("x"); });
  writer.counted([&] { writer.bytes(std::string(300, 'y')); });
  char memory[400];
  char* end = put_variable(put_u32(put_u16(put_u8(memory, 0x01), 0x0203), 0x04050607), 3);
  end = put_bytes(put_variable(put_prefixed(end, "x"), 300), std::string(300, 'y'));
  CHECK(appended == std::string_view(memory, static_cast<size_t>(end - memory)));
  CHECK(appended == bytes("01 0203 04050607 [ 'x' ] [ 79*300 ]"));
}
