// One struct per MQTT control packet, shared by all protocol versions.
//
// Decoded packets are views: every string_view points into the frame it was decoded from and lives as long as
// the frame's bytes do. Byte strings are string_views too. What a version does not have stays at its default.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/properties.h"
#include "proto/reason_code.h"
#include "proto/types.h"

namespace proto {

// [MQTT5 3.1.2.5], [MQTT5 3.1.3.2]. `properties` holds the will properties only.
struct Will {
  QoS qos = QoS::at_most_once;
  bool retain = false;
  std::string_view topic;
  std::string_view payload;
  Properties properties;
  bool operator==(const Will&) const = default;
};

struct Connect {
  ProtocolVersion version = ProtocolVersion::v3_1_1;
  bool bridge = false;      // Top bit of the protocol level byte (0x83, 0x84), set by Mosquitto bridges.
  bool clean_start = true;  // "clean session" before MQTT 5
  uint16_t keep_alive = 0;  // seconds, 0 = off
  std::string_view client_id;
  std::optional<Will> will;
  std::optional<std::string_view> user_name;
  std::optional<std::string_view> password;
  Properties properties;
  bool operator==(const Connect&) const = default;
};

// MQTT 3.x sends to_return_code(reason).
struct Connack {
  bool session_present = false;
  ReasonCode reason = ReasonCode::success;
  Properties properties;
  bool operator==(const Connack&) const = default;
};

struct Publish {
  bool dup = false;
  QoS qos = QoS::at_most_once;
  bool retain = false;
  uint16_t packet_id = 0;  // 0 = none (QoS 0)
  std::string_view topic;
  std::string_view payload;
  PublishProperties properties;
  bool operator==(const Publish&) const = default;
};

// PUBACK, PUBREC, PUBREL, PUBCOMP have one shape. [MQTT5 3.4 - 3.7]
struct Ack {
  uint16_t packet_id = 0;
  ReasonCode reason = ReasonCode::success;
  Properties properties;
  bool operator==(const Ack&) const = default;
};
struct Puback : Ack {};
struct Pubrec : Ack {};
struct Pubrel : Ack {};
struct Pubcomp : Ack {};

struct SubscribeEntry {
  std::string_view filter;
  QoS qos = QoS::at_most_once;
  bool no_local = false;
  bool retain_as_published = false;
  RetainHandling retain_handling = RetainHandling::send;
  bool operator==(const SubscribeEntry&) const = default;
};

struct Subscribe {
  uint16_t packet_id = 0;
  std::vector<SubscribeEntry> entries;
  Properties properties;
  bool operator==(const Subscribe&) const = default;
};

// MQTT 3.1.1 sends every error as 0x80. [MQTT3.1.1 3.9.3]
struct Suback {
  uint16_t packet_id = 0;
  std::vector<ReasonCode> reasons;
  Properties properties;
  bool operator==(const Suback&) const = default;
};

struct Unsubscribe {
  uint16_t packet_id = 0;
  std::vector<std::string_view> filters;
  Properties properties;
  bool operator==(const Unsubscribe&) const = default;
};

// Before MQTT 5 the reasons are not on the wire.
struct Unsuback {
  uint16_t packet_id = 0;
  std::vector<ReasonCode> reasons;
  Properties properties;
  bool operator==(const Unsuback&) const = default;
};

struct Pingreq {
  bool operator==(const Pingreq&) const = default;
};
struct Pingresp {
  bool operator==(const Pingresp&) const = default;
};

struct Disconnect {
  ReasonCode reason = ReasonCode::normal_disconnection;
  Properties properties;
  bool operator==(const Disconnect&) const = default;
};

// MQTT 5 only.
struct Auth {
  ReasonCode reason = ReasonCode::success;
  Properties properties;
  bool operator==(const Auth&) const = default;
};

using Packet = std::variant<Connect, Connack, Publish, Puback, Pubrec, Pubrel, Pubcomp, Subscribe, Suback, Unsubscribe,
                            Unsuback, Pingreq, Pingresp, Disconnect, Auth>;

}  // namespace proto
