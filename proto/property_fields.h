// Connects property identifiers with the fields of Properties. Internal to proto/.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "proto/properties.h"
#include "proto/property_rules.h"

namespace proto {

// One property, decoded. Which members count depends on rule->type.
struct PropertyValue {
  const PropertyRule* rule = nullptr;
  uint32_t number = 0;
  std::string_view text;   // string, binary data, or the name of a pair
  std::string_view value;  // of a pair
};

// Calls visit(field) with the field that holds `id`. `Fields` is Properties or const Properties.
template <typename Fields, typename Visit>
void with_field(Fields& properties, PropertyId id, Visit visit) {
  switch (id) {
    case PropertyId::payload_format_indicator:
      return visit(properties.payload_format_indicator);
    case PropertyId::message_expiry_interval:
      return visit(properties.message_expiry_interval);
    case PropertyId::content_type:
      return visit(properties.content_type);
    case PropertyId::response_topic:
      return visit(properties.response_topic);
    case PropertyId::correlation_data:
      return visit(properties.correlation_data);
    case PropertyId::subscription_identifier:
      return visit(properties.subscription_identifiers);
    case PropertyId::session_expiry_interval:
      return visit(properties.session_expiry_interval);
    case PropertyId::assigned_client_identifier:
      return visit(properties.assigned_client_identifier);
    case PropertyId::server_keep_alive:
      return visit(properties.server_keep_alive);
    case PropertyId::authentication_method:
      return visit(properties.authentication_method);
    case PropertyId::authentication_data:
      return visit(properties.authentication_data);
    case PropertyId::request_problem_information:
      return visit(properties.request_problem_information);
    case PropertyId::will_delay_interval:
      return visit(properties.will_delay_interval);
    case PropertyId::request_response_information:
      return visit(properties.request_response_information);
    case PropertyId::response_information:
      return visit(properties.response_information);
    case PropertyId::server_reference:
      return visit(properties.server_reference);
    case PropertyId::reason_string:
      return visit(properties.reason_string);
    case PropertyId::receive_maximum:
      return visit(properties.receive_maximum);
    case PropertyId::topic_alias_maximum:
      return visit(properties.topic_alias_maximum);
    case PropertyId::topic_alias:  // of PUBLISH alone, see PublishProperties
      return;
    case PropertyId::maximum_qos:
      return visit(properties.maximum_qos);
    case PropertyId::retain_available:
      return visit(properties.retain_available);
    case PropertyId::user_property:
      return visit(properties.user_properties);
    case PropertyId::maximum_packet_size:
      return visit(properties.maximum_packet_size);
    case PropertyId::wildcard_subscription_available:
      return visit(properties.wildcard_subscription_available);
    case PropertyId::subscription_identifier_available:
      return visit(properties.subscription_identifier_available);
    case PropertyId::shared_subscription_available:
      return visit(properties.shared_subscription_available);
  }
}

// Calls visit(PropertyValue) for each value that a field of Properties holds.
template <typename Visit>
struct FieldValues {
  const PropertyRule* rule;
  Visit& visit;

  template <typename Number>
  void operator()(const std::optional<Number>& field) const {
    if (field) visit(PropertyValue{rule, *field, {}, {}});
  }
  void operator()(const std::optional<std::string_view>& field) const {
    if (field) visit(PropertyValue{rule, 0, *field, {}});
  }
  void operator()(const std::vector<uint32_t>& field) const {
    for (const uint32_t one : field) visit(PropertyValue{rule, one, {}, {}});
  }
  void operator()(const std::vector<UserProperty>& field) const {
    for (const UserProperty& one : field) visit(PropertyValue{rule, 0, one.name, one.value});
  }
};

// Calls visit(const PropertyValue&) for every property present, ordered by identifier; repeated ones in their order.
template <typename Visit>
void for_each_property(const Properties& properties, Visit visit) {
  for (const PropertyRule& rule : property_rules()) {
    with_field(properties, rule.id, FieldValues<Visit>{&rule, visit});
  }
}

}  // namespace proto
