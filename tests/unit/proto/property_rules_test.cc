#include "proto/property_rules.h"

#include <map>
#include <set>
#include <string>

#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::refusal;

namespace {

// Table 2-4 of MQTT 5 once more, from the point of view of the packets: who may hold what.
const std::map<std::string, std::set<unsigned>> kAllowed = {
    {"CONNECT", {0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27}},
    {"will", {0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26}},
    {"CONNACK", {0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A}},
    {"PUBLISH", {0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26}},
    {"PUBACK", {0x1F, 0x26}},
    {"PUBREC", {0x1F, 0x26}},
    {"PUBREL", {0x1F, 0x26}},
    {"PUBCOMP", {0x1F, 0x26}},
    {"SUBSCRIBE", {0x0B, 0x26}},
    {"SUBACK", {0x1F, 0x26}},
    {"UNSUBSCRIBE", {0x26}},
    {"UNSUBACK", {0x1F, 0x26}},
    {"DISCONNECT", {0x11, 0x1C, 0x1F, 0x26}},
    {"AUTH", {0x15, 0x16, 0x1F, 0x26}},
};

// Each place as a packet around a property list ("@").
const std::map<std::string, std::string> kPackets = {
    {"CONNECT", "10 [ 'MQTT' 05 02 003c [ @ ] 'c' ]"},
    {"will", "10 [ 'MQTT' 05 06 003c [] 'c' [ @ ] 'w' 'm' ]"},
    {"CONNACK", "20 [ 00 00 [ @ ] ]"},
    {"PUBLISH", "30 [ 'a' [ @ ] \"hi\" ]"},
    {"PUBACK", "40 [ 0001 00 [ @ ] ]"},
    {"PUBREC", "50 [ 0001 00 [ @ ] ]"},
    {"PUBREL", "62 [ 0001 00 [ @ ] ]"},
    {"PUBCOMP", "70 [ 0001 00 [ @ ] ]"},
    {"SUBSCRIBE", "82 [ 0001 [ @ ] 'a' 00 ]"},
    {"SUBACK", "90 [ 0001 [ @ ] 00 ]"},
    {"UNSUBSCRIBE", "a2 [ 0001 [ @ ] 'a' ]"},
    {"UNSUBACK", "b0 [ 0001 [ @ ] 00 ]"},
    {"DISCONNECT", "e0 [ 00 [ @ ] ]"},
    {"AUTH", "f0 [ 18 [ @ ] ]"},
};

std::string hex(uint64_t value, int digits) {
  std::string text;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += "0123456789abcdef"[(value >> shift) & 15];
  return text;
}

// A property with an ordinary value.
std::string property(const PropertyRule& rule, uint32_t number = 1) {
  const std::string id = hex(static_cast<unsigned>(rule.id), 2) + ' ';
  switch (rule.type) {
    case PropertyType::byte:
      return id + hex(number, 2);
    case PropertyType::two_byte_integer:
      return id + hex(number, 4);
    case PropertyType::four_byte_integer:
      return id + hex(number, 8);
    case PropertyType::variable_byte_integer:
      return id + hex(number, 2);
    case PropertyType::utf8_string:
    case PropertyType::binary_data:
      return id + "'x'";
    case PropertyType::utf8_string_pair:
      return id + "'x' 'y'";
  }
  return "";
}

std::string packet_with(const std::string& place, std::string properties) {
  // Authentication data may not come without its method, nor AUTH.
  const bool data = properties.find("16 ") != properties.npos;
  const bool method = properties.find("15 ") != properties.npos;
  if ((place == "AUTH" || (place == "CONNECT" && data)) && !method) properties += " 15 'm'";
  std::string packet = kPackets.at(place);
  return packet.replace(packet.find('@'), 1, properties);
}

ReasonCode refusal_with(const std::string& place, const std::string& properties) {
  return refusal(packet_with(place, properties), ProtocolVersion::v5);
}

bool is_allowed(const std::string& place, const PropertyRule& rule) {
  return kAllowed.at(place).count(static_cast<unsigned>(rule.id)) != 0;
}

bool may_repeat(const std::string& place, const PropertyRule& rule) {
  return rule.id == PropertyId::user_property || (rule.id == PropertyId::subscription_identifier && place == "PUBLISH");
}

}  // namespace

TEST_CASE("properties: the table has each of the 27, in order, and is found by identifier") {
  CHECK(property_rules().size() == 27);
  unsigned previous = 0;
  for (const PropertyRule& rule : property_rules()) {
    CHECK(static_cast<unsigned>(rule.id) > previous);
    previous = static_cast<unsigned>(rule.id);
    CHECK(find_property_rule(previous) == &rule);
  }
  size_t found = 0;
  for (unsigned id = 0; id < 300; ++id) found += find_property_rule(id) != nullptr;
  CHECK(found == 27);
}

TEST_CASE("properties: every property in every packet") {
  for (const auto& [place, packet] : kPackets) {
    for (const PropertyRule& rule : property_rules()) {
      CAPTURE(place);
      CAPTURE(rule.name);
      const auto expected = is_allowed(place, rule) ? ReasonCode::success : ReasonCode::malformed_packet;
      CHECK(refusal_with(place, property(rule)) == expected);
    }
  }
}

TEST_CASE("properties: twice only where that means something") {
  for (const auto& [place, packet] : kPackets) {
    for (const PropertyRule& rule : property_rules()) {
      if (!is_allowed(place, rule)) continue;
      CAPTURE(place);
      CAPTURE(rule.name);
      const auto expected = may_repeat(place, rule) ? ReasonCode::success : ReasonCode::protocol_error;
      CHECK(refusal_with(place, property(rule) + " 26 'a' 'b' " + property(rule)) == expected);
    }
  }
}

TEST_CASE("properties: every identifier that is none") {
  for (const auto& [place, packet] : kPackets) {
    for (unsigned id = 0; id < 128; ++id) {
      if (find_property_rule(id) != nullptr) continue;
      CHECK(refusal_with(place, hex(id, 2) + " 00") == ReasonCode::malformed_packet);
    }
    CHECK(refusal_with(place, "a601 'x' 'y'") == ReasonCode::malformed_packet);
    CHECK(refusal_with(place, "a600 'x' 'y'") == ReasonCode::malformed_packet);
  }
}

TEST_CASE("properties: the bounds of every integer") {
  const std::set<unsigned> not_zero = {0x0B, 0x21, 0x23, 0x27};
  for (const auto& [place, packet] : kPackets) {
    for (const PropertyRule& rule : property_rules()) {
      if (!is_allowed(place, rule) || rule.type > PropertyType::variable_byte_integer) continue;
      CAPTURE(place);
      CAPTURE(rule.name);
      const bool boolean = rule.type == PropertyType::byte;
      const auto at_zero = rule.id == PropertyId::topic_alias               ? ReasonCode::topic_alias_invalid
                           : not_zero.count(static_cast<unsigned>(rule.id)) ? ReasonCode::protocol_error
                                                                            : ReasonCode::success;
      CHECK(refusal_with(place, property(rule, 0)) == at_zero);
      CHECK(refusal_with(place, property(rule, 2)) == (boolean ? ReasonCode::protocol_error : ReasonCode::success));
      CHECK(refusal_with(place, property(rule, 127)) == (boolean ? ReasonCode::protocol_error : ReasonCode::success));
    }
  }
}

TEST_CASE("properties: a list cut within a property") {
  for (const auto& [place, packet] : kPackets) {
    for (const PropertyRule& rule : property_rules()) {
      if (!is_allowed(place, rule)) continue;
      const std::string whole = wire::bytes(property(rule));
      for (size_t size = 1; size < whole.size(); ++size) {
        std::string cut;
        for (const char c : whole.substr(0, size)) cut += ' ' + hex(static_cast<unsigned char>(c), 2);
        const bool method = place == "AUTH" || rule.id == PropertyId::authentication_data;
        if (method) cut = "15 'm'" + cut;
        const auto got = refusal_with(place, cut);
        const bool twice = method && rule.id == PropertyId::authentication_method;
        CHECK(got == (twice ? ReasonCode::protocol_error : ReasonCode::malformed_packet));
      }
    }
  }
}

TEST_CASE("properties: strings must be UTF-8, binary data need not") {
  for (const auto& [place, packet] : kPackets) {
    for (const PropertyRule& rule : property_rules()) {
      if (!is_allowed(place, rule)) continue;
      const std::string id = hex(static_cast<unsigned>(rule.id), 2) + ' ';
      CAPTURE(place);
      CAPTURE(rule.name);
      if (rule.type == PropertyType::utf8_string) CHECK(refusal_with(place, id + "{c0af}") != ReasonCode::success);
      if (rule.type == PropertyType::binary_data) CHECK(refusal_with(place, id + "{c0af}") == ReasonCode::success);
      if (rule.type != PropertyType::utf8_string_pair) continue;
      CHECK(refusal_with(place, id + "{c0af} 'x'") == ReasonCode::malformed_packet);
      CHECK(refusal_with(place, id + "'x' {00}") == ReasonCode::malformed_packet);
    }
  }
}
