#include "shared/control/messages.h"

#include <doctest/doctest.h>

using namespace control;
using namespace std::string_literals;

namespace {

struct Row {
  Message message;
  std::string bytes;
};

// The wire, byte by byte: version, kind, fields in little-endian.
const Row kRows[] = {
    {Ready{0x0102030405060708}, "\x02\x01\x08\x07\x06\x05\x04\x03\x02\x01"s},
    {Stopping{}, "\x02\x02"s},
    {Peers{}, "\x02\x03\x00\x00\x00\x00"s},
    {Peers{{{1, 0x0a}, {0x0203, 0x0b}}},
     "\x02\x03\x02\x00\x00\x00"
     "\x01\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00"
     "\x03\x02\x00\x00\x0b\x00\x00\x00\x00\x00\x00\x00"s},
    {Stop{false}, "\x02\x04\x00"s},
    {Stop{true}, "\x02\x04\x01"s},
    {Adopt{5}, "\x02\x05\x05\x00\x00\x00"s},
    {Unadopt{0xffffffff}, "\x02\x06\xff\xff\xff\xff"s},
    {ReopenLog{}, "\x02\x07"s},
    {Bury{}, "\x02\x09"s},
    {Buried{}, "\x02\x0a"s},
    {Nodes{}, "\x02\x08\x00\x00\x00\x00\x00\x00\x00"s},
    {Nodes{"c", true, {{"a.1", 0x0102, ""}, {"b", 0, "a.1"}}},
     "\x02\x08\x01\x00"
     "c\x01\x02\x00\x00\x00"
     "\x03\x00"
     "a.1\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00"
     "\x01\x00"
     "b\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00"
     "a.1"s},
};

}  // namespace

TEST_CASE("control messages: exact bytes, both ways") {
  for (const Row& row : kRows) {
    CHECK(encode(row.message) == row.bytes);
    const auto decoded = decode(row.bytes);
    REQUIRE(decoded.has_value());
    CHECK(*decoded == row.message);
  }
}

TEST_CASE("control messages: anything shorter or longer is refused") {
  for (const Row& row : kRows) {
    for (size_t length = 0; length < row.bytes.size(); ++length) CHECK_FALSE(decode(row.bytes.substr(0, length)));
    CHECK_FALSE(decode(row.bytes + '\0'));
  }
}

TEST_CASE("control messages: another version, an unknown kind and bad values are refused") {
  CHECK_FALSE(decode("\x01\x02"s));
  CHECK_FALSE(decode("\x02\x00"s));
  CHECK_FALSE(decode("\x02\x0b"s));
  CHECK_FALSE(decode("\x02\x04\x02"s));
  CHECK_FALSE(decode("\x02\x03\xff\xff\xff\xff"s));  // a count that is not there
  CHECK_FALSE(decode("\x02\x08\x00\x00\x00\xff\xff\xff\xff"s));
  CHECK_FALSE(decode("\x02\x08\x00\x00\x02\x00\x00\x00\x00"s));
}

TEST_CASE("control messages: as many nodes travel as one message may hold") {
  const Nodes many{std::string(1000, 's'), true,
                   std::vector<Node>(10'000, Node{std::string(1000, 'k'), 1, std::string(1000, 'a')})};
  const std::string bytes = encode(many);
  CHECK(bytes.size() <= 64 * 1024);
  const auto decoded = decode(bytes);
  REQUIRE(decoded.has_value());
  CHECK(std::get<Nodes>(*decoded).nodes.size() == kMaxNodes);
}
