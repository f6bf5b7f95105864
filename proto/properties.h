// MQTT 5 properties. [MQTT5 2.2.2]
//
// Properties holds those of every packet but PUBLISH. PUBLISH is the hot path and keeps its block as bytes:
// PublishProperties extracts only what a server acts upon; what it passes on unaltered stays encoded.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace proto {

// Identifiers, [MQTT5 2.2.2.2] table 2-4.
enum class PropertyId : uint8_t {
  payload_format_indicator = 0x01,
  message_expiry_interval = 0x02,
  content_type = 0x03,
  response_topic = 0x08,
  correlation_data = 0x09,
  subscription_identifier = 0x0B,
  session_expiry_interval = 0x11,
  assigned_client_identifier = 0x12,
  server_keep_alive = 0x13,
  authentication_method = 0x15,
  authentication_data = 0x16,
  request_problem_information = 0x17,
  will_delay_interval = 0x18,
  request_response_information = 0x19,
  response_information = 0x1A,
  server_reference = 0x1C,
  reason_string = 0x1F,
  receive_maximum = 0x21,
  topic_alias_maximum = 0x22,
  topic_alias = 0x23,
  maximum_qos = 0x24,
  retain_available = 0x25,
  user_property = 0x26,
  maximum_packet_size = 0x27,
  wildcard_subscription_available = 0x28,
  subscription_identifier_available = 0x29,
  shared_subscription_available = 0x2A,
};

struct UserProperty {
  std::string_view name;
  std::string_view value;
  bool operator==(const UserProperty&) const = default;
};

struct Properties {
  std::optional<uint8_t> payload_format_indicator;
  std::optional<uint32_t> message_expiry_interval;  // seconds
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> response_topic;
  std::optional<std::string_view> correlation_data;
  std::vector<uint32_t> subscription_identifiers;
  std::optional<uint32_t> session_expiry_interval;  // seconds, 0xFFFFFFFF = never
  std::optional<std::string_view> assigned_client_identifier;
  std::optional<uint16_t> server_keep_alive;  // seconds
  std::optional<std::string_view> authentication_method;
  std::optional<std::string_view> authentication_data;
  std::optional<uint8_t> request_problem_information;
  std::optional<uint32_t> will_delay_interval;  // seconds
  std::optional<uint8_t> request_response_information;
  std::optional<std::string_view> response_information;
  std::optional<std::string_view> server_reference;
  std::optional<std::string_view> reason_string;
  std::optional<uint16_t> receive_maximum;
  std::optional<uint16_t> topic_alias_maximum;
  std::optional<uint8_t> maximum_qos;
  std::optional<uint8_t> retain_available;
  std::vector<UserProperty> user_properties;
  std::optional<uint32_t> maximum_packet_size;
  std::optional<uint8_t> wildcard_subscription_available;
  std::optional<uint8_t> subscription_identifier_available;
  std::optional<uint8_t> shared_subscription_available;
  bool operator==(const Properties&) const = default;
};

struct PublishProperties {
  std::optional<uint32_t> message_expiry_interval;  // seconds
  uint16_t topic_alias = 0;                         // 0 = none
  std::vector<uint32_t> subscription_identifiers;   // only from server to client
  // The encoded properties a receiver must see unaltered and in order: payload format indicator, content type,
  // response topic, correlation data, user properties. Decoding: the whole validated block as it came, still with
  // the properties extracted above in it (see copy_forwarded_properties). Encoding: appended as it is; so it must
  // hold forwarded properties only.
  std::string_view block;
  bool operator==(const PublishProperties&) const = default;
};

// Bytes that copy_forwarded_properties will write. REQUIRES: `block` was validated by decode().
size_t forwarded_properties_size(std::string_view block);
// Copies the forwarded properties of a validated block, in their order, to `out`; returns the end of what was written.
char* copy_forwarded_properties(std::string_view block, char* out);
// Decodes a validated PUBLISH block (or a forwarded block) for inspection. Not for the hot path.
Properties inspect_block(std::string_view block);
// Encodes those properties of a will that its publication forwards (payload format, content type, response topic,
// correlation data, user properties) as a forwarded block.
size_t forwarded_properties_size(const Properties& properties);
char* write_forwarded_properties(const Properties& properties, char* out);

}  // namespace proto
