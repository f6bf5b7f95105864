#include "proto/reason_code.h"

#include <algorithm>
#include <array>

#include "proto/reason_rules.h"

namespace proto {

namespace {

constexpr unsigned in(PacketType type) {
  return 1u << static_cast<unsigned>(type);
}

constexpr unsigned connack = in(PacketType::connack);
constexpr unsigned puback = in(PacketType::puback);
constexpr unsigned pubrec = in(PacketType::pubrec);
constexpr unsigned pubrel = in(PacketType::pubrel);
constexpr unsigned pubcomp = in(PacketType::pubcomp);
constexpr unsigned suback = in(PacketType::suback);
constexpr unsigned unsuback = in(PacketType::unsuback);
constexpr unsigned disconnect = in(PacketType::disconnect);
constexpr unsigned auth = in(PacketType::auth);

struct ReasonRule {
  ReasonCode code;
  std::string_view name;
  unsigned packets;
};

// [MQTT5 2.4] table 2-6, in its order.
constexpr ReasonRule kRules[] = {
    {ReasonCode::success, "Success",
     connack | puback | pubrec | pubrel | pubcomp | suback | unsuback | disconnect | auth},
    {ReasonCode::granted_qos_1, "Granted QoS 1", suback},
    {ReasonCode::granted_qos_2, "Granted QoS 2", suback},
    {ReasonCode::disconnect_with_will_message, "Disconnect with Will Message", disconnect},
    {ReasonCode::no_matching_subscribers, "No matching subscribers", puback | pubrec},
    {ReasonCode::no_subscription_existed, "No subscription existed", unsuback},
    {ReasonCode::continue_authentication, "Continue authentication", auth},
    {ReasonCode::re_authenticate, "Re-authenticate", auth},
    {ReasonCode::unspecified_error, "Unspecified error", connack | puback | pubrec | suback | unsuback | disconnect},
    {ReasonCode::malformed_packet, "Malformed Packet", connack | disconnect},
    {ReasonCode::protocol_error, "Protocol Error", connack | disconnect},
    {ReasonCode::implementation_specific_error, "Implementation specific error",
     connack | puback | pubrec | suback | unsuback | disconnect},
    {ReasonCode::unsupported_protocol_version, "Unsupported Protocol Version", connack},
    {ReasonCode::client_identifier_not_valid, "Client Identifier not valid", connack},
    {ReasonCode::bad_user_name_or_password, "Bad User Name or Password", connack},
    {ReasonCode::not_authorized, "Not authorized", connack | puback | pubrec | suback | unsuback | disconnect},
    {ReasonCode::server_unavailable, "Server unavailable", connack},
    {ReasonCode::server_busy, "Server busy", connack | disconnect},
    {ReasonCode::banned, "Banned", connack},
    {ReasonCode::server_shutting_down, "Server shutting down", disconnect},
    {ReasonCode::bad_authentication_method, "Bad authentication method", connack | disconnect},
    {ReasonCode::keep_alive_timeout, "Keep Alive timeout", disconnect},
    {ReasonCode::session_taken_over, "Session taken over", disconnect},
    {ReasonCode::topic_filter_invalid, "Topic Filter invalid", suback | unsuback | disconnect},
    {ReasonCode::topic_name_invalid, "Topic Name invalid", connack | puback | pubrec | disconnect},
    {ReasonCode::packet_identifier_in_use, "Packet identifier in use", puback | pubrec | suback | unsuback},
    {ReasonCode::packet_identifier_not_found, "Packet Identifier not found", pubrel | pubcomp},
    {ReasonCode::receive_maximum_exceeded, "Receive Maximum exceeded", disconnect},
    {ReasonCode::topic_alias_invalid, "Topic Alias invalid", disconnect},
    {ReasonCode::packet_too_large, "Packet too large", connack | disconnect},
    {ReasonCode::message_rate_too_high, "Message rate too high", disconnect},
    {ReasonCode::quota_exceeded, "Quota exceeded", connack | puback | pubrec | suback | disconnect},
    {ReasonCode::administrative_action, "Administrative action", disconnect},
    {ReasonCode::payload_format_invalid, "Payload format invalid", connack | puback | pubrec | disconnect},
    {ReasonCode::retain_not_supported, "Retain not supported", connack | disconnect},
    {ReasonCode::qos_not_supported, "QoS not supported", connack | disconnect},
    {ReasonCode::use_another_server, "Use another server", connack | disconnect},
    {ReasonCode::server_moved, "Server moved", connack | disconnect},
    {ReasonCode::shared_subscriptions_not_supported, "Shared Subscriptions not supported", suback | disconnect},
    {ReasonCode::connection_rate_exceeded, "Connection rate exceeded", connack | disconnect},
    {ReasonCode::maximum_connect_time, "Maximum connect time", disconnect},
    {ReasonCode::subscription_identifiers_not_supported, "Subscription Identifiers not supported", suback | disconnect},
    {ReasonCode::wildcard_subscriptions_not_supported, "Wildcard Subscriptions not supported", suback | disconnect},
};

const ReasonRule* find(ReasonCode code) {
  const auto* found = std::find_if(std::begin(kRules), std::end(kRules), [&](auto& rule) { return rule.code == code; });
  return found == std::end(kRules) ? nullptr : found;
}

// What may_stand_in() asks for every acknowledgement: by code, the packets.
constexpr auto kPackets = [] {
  std::array<uint16_t, 256> packets{};
  for (const ReasonRule& rule : kRules) packets[static_cast<size_t>(rule.code)] = static_cast<uint16_t>(rule.packets);
  return packets;
}();

}  // namespace

std::string_view to_string(ReasonCode code) {
  const ReasonRule* rule = find(code);
  return rule ? rule->name : "Unknown reason";
}

bool may_stand_in(ReasonCode code, PacketType packet) {
  return (kPackets[static_cast<size_t>(code)] & in(packet)) != 0;
}

ConnectReturnCode to_return_code(ReasonCode code) {
  if (code == ReasonCode::success) return ConnectReturnCode::accepted;
  if (code == ReasonCode::unsupported_protocol_version) return ConnectReturnCode::unacceptable_protocol_version;
  if (code == ReasonCode::client_identifier_not_valid) return ConnectReturnCode::identifier_rejected;
  if (code == ReasonCode::bad_user_name_or_password) return ConnectReturnCode::bad_user_name_or_password;
  if (code == ReasonCode::not_authorized || code == ReasonCode::banned) return ConnectReturnCode::not_authorized;
  return ConnectReturnCode::server_unavailable;
}

}  // namespace proto
