// The decoders' common entry, and the packets without a body worth a file: PINGREQ, PINGRESP, DISCONNECT, AUTH.
#include "proto/byte_reader.h"
#include "proto/codec.h"
#include "proto/decode_error.h"
#include "proto/property_codec.h"
#include "proto/reason_rules.h"

namespace proto {

namespace {

// The shared shape of DISCONNECT and AUTH in MQTT 5: reason and properties, either of which may be left out at the end.
// [MQTT5 3.14.2], [MQTT5 3.15.2]
template <typename Body>
std::optional<DecodeError> decode_reason(const Frame& frame, Body& out) {
  out.reason = ReasonCode::success;
  clear(out.properties);
  if (frame.flags != 0) return malformed("reserved flags");  // [MQTT-3.14.1-1], [MQTT-3.15.1-1]
  ByteReader reader(frame.body);
  uint8_t reason;
  if (!reader.u8(reason)) return std::nullopt;
  out.reason = static_cast<ReasonCode>(reason);
  if (!may_stand_in(out.reason, frame.type)) return protocol_error("reason code");  // [MQTT-3.14.2-1], [MQTT-3.15.2-1]
  if (reader.empty()) return std::nullopt;
  if (auto error = decode_properties(reader, ProtocolVersion::v5, in(frame.type), out.properties)) return error;
  if (!reader.empty()) return malformed("bytes behind the properties");
  return std::nullopt;
}

template <typename Body>
std::variant<Packet, DecodeError> decode_as(const Frame& frame, ProtocolVersion version) {
  Body packet;
  if (auto error = decode(frame, version, packet)) return *error;
  return Packet(std::move(packet));
}

template <typename Empty>
std::variant<Packet, DecodeError> decode_empty_as(const Frame& frame) {
  if (auto error = decode_empty(frame)) return *error;
  return Packet(Empty{});
}

}  // namespace

std::optional<DecodeError> decode_empty(const Frame& frame) {
  if (frame.flags != 0) return malformed("PING: reserved flags");  // [MQTT-2.1.3-1]
  if (!frame.body.empty()) return malformed("PING: not empty");
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Disconnect& out) {
  if (version != ProtocolVersion::v5 && !frame.body.empty()) return malformed("DISCONNECT: not empty");
  return decode_reason(frame, out);
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Auth& out) {
  if (version != ProtocolVersion::v5) return malformed("AUTH: before MQTT 5");
  if (auto error = decode_reason(frame, out)) return error;
  // Only the empty AUTH, which means success without properties, may do without a method. [MQTT5 3.15.2.1]
  if (!frame.body.empty() && !out.properties.authentication_method) return protocol_error("AUTH: no method");
  return std::nullopt;
}

std::variant<Packet, DecodeError> decode_any(const Frame& frame, ProtocolVersion version) {
  switch (frame.type) {
    case PacketType::connect: {
      Connect packet;
      if (auto error = decode(frame, packet)) return *error;
      return Packet(std::move(packet));
    }
    case PacketType::connack:
      return decode_as<Connack>(frame, version);
    case PacketType::publish:
      return decode_as<Publish>(frame, version);
    case PacketType::puback:
      return decode_as<Puback>(frame, version);
    case PacketType::pubrec:
      return decode_as<Pubrec>(frame, version);
    case PacketType::pubrel:
      return decode_as<Pubrel>(frame, version);
    case PacketType::pubcomp:
      return decode_as<Pubcomp>(frame, version);
    case PacketType::subscribe:
      return decode_as<Subscribe>(frame, version);
    case PacketType::suback:
      return decode_as<Suback>(frame, version);
    case PacketType::unsubscribe:
      return decode_as<Unsubscribe>(frame, version);
    case PacketType::unsuback:
      return decode_as<Unsuback>(frame, version);
    case PacketType::pingreq:
      return decode_empty_as<Pingreq>(frame);
    case PacketType::pingresp:
      return decode_empty_as<Pingresp>(frame);
    case PacketType::disconnect:
      return decode_as<Disconnect>(frame, version);
    case PacketType::auth:
      return decode_as<Auth>(frame, version);
  }
  return malformed("reserved packet type");
}

}  // namespace proto
