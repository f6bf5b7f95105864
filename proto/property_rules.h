// The table of MQTT 5 properties: representation, range, and the packets in which each may stand. [MQTT5 2.2.2.2]
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "proto/properties.h"
#include "proto/types.h"

namespace proto {

enum class PropertyType : uint8_t {
  byte,
  two_byte_integer,
  four_byte_integer,
  variable_byte_integer,
  utf8_string,
  binary_data,
  utf8_string_pair,
};

// Where a property list may stand: in a packet, or in front of the will within CONNECT. A set of them is a bit mask.
using PropertyPlaces = uint16_t;
constexpr PropertyPlaces in(PacketType packet) {
  return static_cast<PropertyPlaces>(1u << static_cast<unsigned>(packet));
}
inline constexpr PropertyPlaces kInWill = 1;

struct PropertyRule {
  PropertyId id;
  PropertyType type;
  PropertyPlaces places;
  PropertyPlaces repeats_in;  // places in which it may stand more than once
  uint32_t min;               // bounds of an integer
  uint32_t max;
  bool forwarded;  // passed on unaltered from publisher to subscriber
  std::string_view name;
  // Texts for DecodeError::what.
  const char* misplaced;
  const char* repeated;
  const char* malformed;
  const char* out_of_range;
};

// All properties, ordered by identifier.
std::span<const PropertyRule> property_rules();
// nullptr: no such property.
const PropertyRule* find_property_rule(uint32_t id);

}  // namespace proto
