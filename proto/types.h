// The scalar vocabulary of MQTT: versions, packet types, QoS levels, options.
#pragma once

#include <cstdint>
#include <string_view>

namespace proto {

// The protocol level byte of CONNECT. [MQTT5 3.1.2.2], [MQTT3.1.1 3.1.2.2]; 3 is MQTT 3.1 ("MQIsdp").
enum class ProtocolVersion : uint8_t { v3_1 = 3, v3_1_1 = 4, v5 = 5 };

enum class PacketType : uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  pingreq = 12,
  pingresp = 13,
  disconnect = 14,
  auth = 15,
};

enum class QoS : uint8_t { at_most_once = 0, at_least_once = 1, exactly_once = 2 };

// [MQTT5 3.8.3.1] Retain Handling.
enum class RetainHandling : uint8_t { send = 0, send_if_new = 1, do_not_send = 2 };

// "CONNECT", "PUBLISH", ...
std::string_view to_string(PacketType type);
// "3.1", "3.1.1", "5.0"
std::string_view to_string(ProtocolVersion version);

// Largest value of a Variable Byte Integer, so also of a Remaining Length. [MQTT5 1.5.5]
inline constexpr uint32_t kMaxVariableByteInteger = 268'435'455;
// Fixed header (1 + 4 bytes) and the largest remaining length.
inline constexpr uint32_t kMaxPacketSize = kMaxVariableByteInteger + 5;

}  // namespace proto
