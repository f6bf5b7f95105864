#include "proto/property_rules.h"

#include <array>

namespace proto {

namespace {

constexpr unsigned connect = in(PacketType::connect);
constexpr unsigned connack = in(PacketType::connack);
constexpr unsigned publish = in(PacketType::publish);
constexpr unsigned puback = in(PacketType::puback);
constexpr unsigned pubrec = in(PacketType::pubrec);
constexpr unsigned pubrel = in(PacketType::pubrel);
constexpr unsigned pubcomp = in(PacketType::pubcomp);
constexpr unsigned subscribe = in(PacketType::subscribe);
constexpr unsigned suback = in(PacketType::suback);
constexpr unsigned unsubscribe = in(PacketType::unsubscribe);
constexpr unsigned unsuback = in(PacketType::unsuback);
constexpr unsigned disconnect = in(PacketType::disconnect);
constexpr unsigned auth = in(PacketType::auth);
constexpr unsigned will = kInWill;
constexpr unsigned everywhere = connect | connack | publish | puback | pubrec | pubrel | pubcomp | subscribe | suback |
                                unsubscribe | unsuback | disconnect | auth | will;
constexpr unsigned nowhere = 0;

struct Range {
  uint32_t min = 0;
  uint32_t max = UINT32_MAX;
};
constexpr Range any;
constexpr Range boolean{0, 1};
constexpr Range not_zero{1, UINT32_MAX};

constexpr bool forwarded = true;
constexpr bool kept = false;

constexpr PropertyRule rule(PropertyId id, PropertyType type, unsigned places, unsigned repeats_in, Range range,
                            bool forward, std::string_view name, const char* misplaced, const char* repeated,
                            const char* malformed, const char* out_of_range) {
  return {id,
          type,
          static_cast<PropertyPlaces>(places),
          static_cast<PropertyPlaces>(repeats_in),
          range.min,
          range.max,
          forward,
          name,
          misplaced,
          repeated,
          malformed,
          out_of_range};
}

// The texts are literals because a DecodeError owns nothing.
#define NAMED(name)                                                                                  \
  name, "property not allowed here: " name, "property repeated: " name, "malformed property: " name, \
      "property out of range: " name

// [MQTT5 2.2.2.2] table 2-4, and the value ranges of the sections on each packet.
constexpr PropertyRule kRules[] = {
    rule(PropertyId::payload_format_indicator, PropertyType::byte, publish | will, nowhere, boolean, forwarded,
         NAMED("payload format indicator")),
    rule(PropertyId::message_expiry_interval, PropertyType::four_byte_integer, publish | will, nowhere, any, kept,
         NAMED("message expiry interval")),
    rule(PropertyId::content_type, PropertyType::utf8_string, publish | will, nowhere, any, forwarded,
         NAMED("content type")),
    rule(PropertyId::response_topic, PropertyType::utf8_string, publish | will, nowhere, any, forwarded,
         NAMED("response topic")),
    rule(PropertyId::correlation_data, PropertyType::binary_data, publish | will, nowhere, any, forwarded,
         NAMED("correlation data")),
    rule(PropertyId::subscription_identifier, PropertyType::variable_byte_integer, publish | subscribe, publish,
         not_zero, kept, NAMED("subscription identifier")),
    rule(PropertyId::session_expiry_interval, PropertyType::four_byte_integer, connect | connack | disconnect, nowhere,
         any, kept, NAMED("session expiry interval")),
    rule(PropertyId::assigned_client_identifier, PropertyType::utf8_string, connack, nowhere, any, kept,
         NAMED("assigned client identifier")),
    rule(PropertyId::server_keep_alive, PropertyType::two_byte_integer, connack, nowhere, any, kept,
         NAMED("server keep alive")),
    rule(PropertyId::authentication_method, PropertyType::utf8_string, connect | connack | auth, nowhere, any, kept,
         NAMED("authentication method")),
    rule(PropertyId::authentication_data, PropertyType::binary_data, connect | connack | auth, nowhere, any, kept,
         NAMED("authentication data")),
    rule(PropertyId::request_problem_information, PropertyType::byte, connect, nowhere, boolean, kept,
         NAMED("request problem information")),
    rule(PropertyId::will_delay_interval, PropertyType::four_byte_integer, will, nowhere, any, kept,
         NAMED("will delay interval")),
    rule(PropertyId::request_response_information, PropertyType::byte, connect, nowhere, boolean, kept,
         NAMED("request response information")),
    rule(PropertyId::response_information, PropertyType::utf8_string, connack, nowhere, any, kept,
         NAMED("response information")),
    rule(PropertyId::server_reference, PropertyType::utf8_string, connack | disconnect, nowhere, any, kept,
         NAMED("server reference")),
    rule(PropertyId::reason_string, PropertyType::utf8_string,
         connack | puback | pubrec | pubrel | pubcomp | suback | unsuback | disconnect | auth, nowhere, any, kept,
         NAMED("reason string")),
    rule(PropertyId::receive_maximum, PropertyType::two_byte_integer, connect | connack, nowhere, not_zero, kept,
         NAMED("receive maximum")),
    rule(PropertyId::topic_alias_maximum, PropertyType::two_byte_integer, connect | connack, nowhere, any, kept,
         NAMED("topic alias maximum")),
    rule(PropertyId::topic_alias, PropertyType::two_byte_integer, publish, nowhere, not_zero, kept,
         NAMED("topic alias")),
    rule(PropertyId::maximum_qos, PropertyType::byte, connack, nowhere, boolean, kept, NAMED("maximum QoS")),
    rule(PropertyId::retain_available, PropertyType::byte, connack, nowhere, boolean, kept, NAMED("retain available")),
    rule(PropertyId::user_property, PropertyType::utf8_string_pair, everywhere, everywhere, any, forwarded,
         NAMED("user property")),
    rule(PropertyId::maximum_packet_size, PropertyType::four_byte_integer, connect | connack, nowhere, not_zero, kept,
         NAMED("maximum packet size")),
    rule(PropertyId::wildcard_subscription_available, PropertyType::byte, connack, nowhere, boolean, kept,
         NAMED("wildcard subscription available")),
    rule(PropertyId::subscription_identifier_available, PropertyType::byte, connack, nowhere, boolean, kept,
         NAMED("subscription identifier available")),
    rule(PropertyId::shared_subscription_available, PropertyType::byte, connack, nowhere, boolean, kept,
         NAMED("shared subscription available")),
};
#undef NAMED

constexpr size_t kIds = static_cast<size_t>(PropertyId::shared_subscription_available) + 1;
constexpr auto kById = [] {
  std::array<const PropertyRule*, kIds> rules{};
  for (const PropertyRule& one : kRules) rules[static_cast<size_t>(one.id)] = &one;
  return rules;
}();

}  // namespace

std::span<const PropertyRule> property_rules() {
  return kRules;
}

const PropertyRule* find_property_rule(uint32_t id) {
  return id < kIds ? kById[id] : nullptr;
}

}  // namespace proto
