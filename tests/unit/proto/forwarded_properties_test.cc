// What a publication carries on to its subscribers.
#include "proto/properties.h"
#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;

namespace {

std::string forwarded(std::string_view block) {
  std::string out(forwarded_properties_size(block), '?');
  CHECK(copy_forwarded_properties(block, out.data()) == out.data() + out.size());
  return out;
}

std::string forwarded(const Properties& properties) {
  std::string out(forwarded_properties_size(properties), '?');
  CHECK(write_forwarded_properties(properties, out.data()) == out.data() + out.size());
  return out;
}

}  // namespace

TEST_CASE("forwarded properties: of a block, in their order") {
  CHECK(forwarded("").empty());
  CHECK(forwarded(bytes("23 0001 02 00000001 0b 01 0b ffffff7f")).empty());
  const std::string all = bytes("26 'b' '1' 09 {00ff} 01 00 26 'a' '' 08 'r' 03 'text/plain' 26 'b' '1'");
  CHECK(forwarded(all) == all);
  CHECK(forwarded(bytes("23 0001") + all + bytes("0b 8001")) == all);
  CHECK(forwarded(bytes("26 'b' '1' 23 0001 26 'a' '2' 02 00000001 01 01 0b 05")) ==
        bytes("26 'b' '1' 26 'a' '2' 01 01"));
}

TEST_CASE("forwarded properties: of a will") {
  Properties will;
  CHECK(forwarded(will).empty());
  will.will_delay_interval = 5;
  will.message_expiry_interval = 6;
  CHECK(forwarded(will).empty());
  will.payload_format_indicator = uint8_t{1};
  will.content_type = "text";
  will.response_topic = "r";
  will.correlation_data = std::string_view("\0", 1);
  will.user_properties = {{"b", "1"}, {"a", ""}};
  CHECK(forwarded(will) == bytes("01 01 03 'text' 08 'r' 09 {00} 26 'b' '1' 26 'a' ''"));
}

TEST_CASE("forwarded properties: a block inspected") {
  const std::string block = bytes("26 'b' '1' 23 0001 02 0000003c 01 01 0b 05 0b 06 08 'r'");
  const Properties found = inspect_block(block);
  Properties expected;
  expected.user_properties = {{"b", "1"}};
  expected.message_expiry_interval = 60;
  expected.payload_format_indicator = uint8_t{1};
  expected.subscription_identifiers = {5, 6};
  expected.response_topic = "r";
  CHECK(found == expected);
  CHECK(inspect_block("") == Properties{});
}
