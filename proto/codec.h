// Encoding and decoding of every MQTT control packet, all versions. Pure: no I/O, no clock, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "proto/framer.h"
#include "proto/packet.h"

namespace proto {

// Why bytes are not a packet. `reason` is what MQTT 5 tells the peer; `what` is a static text for the log, naming the
// field ("CONNECT: will QoS 3").
struct DecodeError {
  ReasonCode reason = ReasonCode::malformed_packet;
  const char* what = "";
};

// Each decoder checks everything the specification says of the packet alone: flags, lengths, UTF-8, ranges,
// which properties may stand here and how often, topic names and filters well-formed, packet id not 0.
// What depends on state (is this id in use? may this client publish?) is not checked here.
// On error the output is unspecified, except for Connect::version: it says how to answer (MQTT 5 as soon as the
// packet's level is 5 or above). The frame must have the matching type.
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, Connect& out);  // version comes from the packet
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Connack& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Publish& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Ack& out);  // all four
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Subscribe& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Suback& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Unsubscribe& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Unsuback& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Disconnect& out);
[[nodiscard]] std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Auth& out);
// PINGREQ, PINGRESP: only the flags and the length can be wrong.
[[nodiscard]] std::optional<DecodeError> decode_empty(const Frame& frame);

// Any packet; for tests, tools and fuzzing. `version` is ignored for CONNECT.
[[nodiscard]] std::variant<Packet, DecodeError> decode_any(const Frame& frame, ProtocolVersion version);

// Append the encoded packet to `out`. REQUIRES: fields within the wire's limits (strings <= 65535 bytes, ...).
void encode(const Connect& packet, std::string& out);  // packet.version
void encode(const Connack& packet, ProtocolVersion version, std::string& out);
void encode(const Publish& packet, ProtocolVersion version, std::string& out);
void encode(const Puback& packet, ProtocolVersion version, std::string& out);
void encode(const Pubrec& packet, ProtocolVersion version, std::string& out);
void encode(const Pubrel& packet, ProtocolVersion version, std::string& out);
void encode(const Pubcomp& packet, ProtocolVersion version, std::string& out);
void encode(const Subscribe& packet, ProtocolVersion version, std::string& out);
void encode(const Suback& packet, ProtocolVersion version, std::string& out);
void encode(const Unsubscribe& packet, ProtocolVersion version, std::string& out);
void encode(const Unsuback& packet, ProtocolVersion version, std::string& out);
void encode(const Pingreq& packet, ProtocolVersion version, std::string& out);
void encode(const Pingresp& packet, ProtocolVersion version, std::string& out);
void encode(const Disconnect& packet, ProtocolVersion version, std::string& out);
void encode(const Auth& packet, ProtocolVersion version, std::string& out);
void encode(const Packet& packet, ProtocolVersion version, std::string& out);

// The hot path of a server: everything of a PUBLISH but its payload, straight into a caller's buffer.
// PublishHead is encoded in two steps so that the caller can size its buffer exactly.
struct PublishHead {
  ProtocolVersion version = ProtocolVersion::v3_1_1;
  bool dup = false;
  QoS qos = QoS::at_most_once;
  bool retain = false;
  uint16_t packet_id = 0;
  std::string_view topic;  // empty with a topic alias that is already known
  size_t payload_size = 0;
  // MQTT 5 only; ignored before.
  uint16_t topic_alias = 0;                         // 0 = none
  std::optional<uint32_t> message_expiry_interval;  // seconds left
  const uint32_t* subscription_identifiers = nullptr;
  size_t subscription_identifier_count = 0;
  std::string_view forwarded_properties;  // encoded, see PublishProperties::block
};
// The packet's total size on the wire, payload included (compare with the receiver's maximum packet size), and the
// part of it that write_publish_head writes. A total over kMaxPacketSize cannot be sent.
struct PublishSize {
  uint64_t head = 0;
  uint64_t total = 0;
};
PublishSize publish_size(const PublishHead& head);
// Writes exactly publish_size(head).head bytes; returns the end.
char* write_publish_head(const PublishHead& head, char* out);

// Writes a PUBACK/PUBREC/PUBREL/PUBCOMP without properties (the common case); at most 5 bytes; returns the end.
// MQTT 3.x and a success leave the reason out.
char* write_ack(PacketType type, ProtocolVersion version, uint16_t packet_id, ReasonCode reason, char* out);

}  // namespace proto
