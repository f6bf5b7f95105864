// CONNECT and CONNACK. [MQTT5 3.1], [MQTT5 3.2], [MQTT3.1.1 3.1], [MQTT3.1.1 3.2]
#include "proto/byte_reader.h"
#include "proto/codec.h"
#include "proto/decode_error.h"
#include "proto/property_codec.h"
#include "proto/reason_rules.h"
#include "proto/topic.h"
#include "proto/utf8.h"

namespace proto {

namespace {

constexpr uint8_t kBridgeBit = 0x80;

DecodeError unsupported(const char* what) {
  return {ReasonCode::unsupported_protocol_version, what};
}

// The Connect Flags byte. [MQTT5 3.1.2.3]
struct ConnectFlags {
  bool reserved, clean_start, will, will_retain, password, user_name;
  unsigned will_qos;

  explicit ConnectFlags(uint8_t bits)
      : reserved((bits & 0x01) != 0),
        clean_start((bits & 0x02) != 0),
        will((bits & 0x04) != 0),
        will_retain((bits & 0x20) != 0),
        password((bits & 0x40) != 0),
        user_name((bits & 0x80) != 0),
        will_qos((bits >> 3) & 3u) {}
};

std::optional<DecodeError> decode_protocol(ByteReader& reader, Connect& out) {
  out.version = ProtocolVersion::v3_1_1;
  out.bridge = false;
  std::string_view name;
  uint8_t level;
  if (!reader.prefixed(name)) return malformed("CONNECT: protocol name");
  if (name != "MQTT" && name != "MQIsdp") return unsupported("CONNECT: protocol name");  // [MQTT-3.1.2-1]
  if (!reader.u8(level)) return malformed("CONNECT: protocol level");
  if (name == "MQIsdp") {
    if ((level & ~kBridgeBit) != 3) return unsupported("CONNECT: protocol level");
    out.version = ProtocolVersion::v3_1;
  } else if (level >= 5 && level < kBridgeBit) {
    out.version = ProtocolVersion::v5;
    if (level != 5) return unsupported("CONNECT: protocol level");  // [MQTT-3.1.2-2]
  } else if ((level & ~kBridgeBit) != 4) {
    return unsupported("CONNECT: protocol level");
  }
  out.bridge = (level & kBridgeBit) != 0;
  return std::nullopt;
}

std::optional<DecodeError> check_flags(const ConnectFlags& flags, ProtocolVersion version) {
  if (flags.reserved) return malformed("CONNECT: reserved flag");                  // [MQTT-3.1.2-3]
  if (flags.will && flags.will_qos == 3) return malformed("CONNECT: will QoS 3");  // [MQTT-3.1.2-12]
  // MQTT 3.1 disregards these two without a will.
  if (!flags.will && version != ProtocolVersion::v3_1) {
    if (flags.will_qos != 0) return malformed("CONNECT: will QoS without a will");   // [MQTT-3.1.2-11]
    if (flags.will_retain) return malformed("CONNECT: will retain without a will");  // [MQTT-3.1.2-13]
  }
  // Of MQTT 3 only. [MQTT3.1.1 MQTT-3.1.2-22]
  if (version != ProtocolVersion::v5 && flags.password && !flags.user_name) {
    return malformed("CONNECT: password without user name");
  }
  return std::nullopt;
}

std::optional<DecodeError> decode_will(ByteReader& reader, ProtocolVersion version, const ConnectFlags& flags,
                                       std::optional<Will>& out) {
  out.reset();
  if (!flags.will) return std::nullopt;
  Will& will = out.emplace();
  will.qos = static_cast<QoS>(flags.will_qos);
  will.retain = flags.will_retain;
  if (auto error = decode_properties(reader, version, kInWill, will.properties)) return error;
  if (!reader.prefixed(will.topic)) return malformed("CONNECT: will topic");
  if (!is_valid_utf8(will.topic)) return malformed("CONNECT: will topic is not UTF-8");  // [MQTT-3.1.3-11]
  if (!is_valid_topic_name(will.topic)) return DecodeError{ReasonCode::topic_name_invalid, "CONNECT: will topic"};
  if (!reader.prefixed(will.payload)) return malformed("CONNECT: will payload");
  return std::nullopt;
}

// MQTT 3.1 has the remaining length take precedence over the flags: a user name or password may be missing at the end.
bool is_absent(const ByteReader& reader, ProtocolVersion version) {
  return version == ProtocolVersion::v3_1 && reader.empty();
}

std::optional<DecodeError> decode_credentials(ByteReader& reader, const ConnectFlags& flags, Connect& out) {
  out.user_name.reset();
  out.password.reset();
  if (flags.user_name && !is_absent(reader, out.version)) {
    if (!reader.prefixed(out.user_name.emplace())) return malformed("CONNECT: user name");
    if (!is_valid_utf8(*out.user_name)) return malformed("CONNECT: user name is not UTF-8");  // [MQTT-3.1.3-12]
  }
  if (flags.password && !is_absent(reader, out.version)) {
    if (!reader.prefixed(out.password.emplace())) return malformed("CONNECT: password");
  }
  return std::nullopt;
}

// MQTT 3.x return codes as reason codes; nullopt: reserved.
std::optional<ReasonCode> from_return_code(uint8_t code) {
  constexpr ReasonCode kReasons[] = {ReasonCode::success,
                                     ReasonCode::unsupported_protocol_version,
                                     ReasonCode::client_identifier_not_valid,
                                     ReasonCode::server_unavailable,
                                     ReasonCode::bad_user_name_or_password,
                                     ReasonCode::not_authorized};
  if (code >= std::size(kReasons)) return std::nullopt;
  return kReasons[code];
}

}  // namespace

std::optional<DecodeError> decode(const Frame& frame, Connect& out) {
  ByteReader reader(frame.body);
  if (auto error = decode_protocol(reader, out)) return error;
  if (frame.flags != 0) return malformed("CONNECT: reserved flags");  // [MQTT-2.1.3-1]
  uint8_t bits;
  if (!reader.u8(bits)) return malformed("CONNECT: flags");
  const ConnectFlags flags(bits);
  if (auto error = check_flags(flags, out.version)) return error;
  out.clean_start = flags.clean_start;
  if (!reader.u16(out.keep_alive)) return malformed("CONNECT: keep alive");
  if (auto error = decode_properties(reader, out.version, in(PacketType::connect), out.properties)) return error;
  if (out.properties.authentication_data && !out.properties.authentication_method) {
    return protocol_error("CONNECT: authentication data without method");  // [MQTT5 3.1.2.11.10]
  }
  if (!reader.prefixed(out.client_id)) return malformed("CONNECT: client identifier");             // [MQTT-3.1.3-3]
  if (!is_valid_utf8(out.client_id)) return malformed("CONNECT: client identifier is not UTF-8");  // [MQTT-3.1.3-4]
  if (auto error = decode_will(reader, out.version, flags, out.will)) return error;
  if (auto error = decode_credentials(reader, flags, out)) return error;
  if (!reader.empty()) return malformed("CONNECT: bytes behind the payload");
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Connack& out) {
  if (frame.flags != 0) return malformed("CONNACK: reserved flags");  // [MQTT-2.1.3-1]
  ByteReader reader(frame.body);
  uint8_t acknowledge;
  uint8_t code;
  if (!reader.u8(acknowledge) || !reader.u8(code)) return malformed("CONNACK: too short");
  if (acknowledge > 1) return malformed("CONNACK: acknowledge flags");         // [MQTT-3.2.2-1]
  out.session_present = acknowledge == 1 && version != ProtocolVersion::v3_1;  // reserved before MQTT 3.1.1
  const auto reason = version == ProtocolVersion::v5 ? static_cast<ReasonCode>(code) : from_return_code(code);
  if (!reason || !may_stand_in(*reason, PacketType::connack)) return protocol_error("CONNACK: reason code");
  out.reason = *reason;
  if (out.session_present && is_error(out.reason))
    return protocol_error("CONNACK: session of a refusal");  // [MQTT-3.2.2-6]
  if (auto error = decode_properties(reader, version, in(PacketType::connack), out.properties)) return error;
  if (!reader.empty()) return malformed("CONNACK: bytes behind the end");
  return std::nullopt;
}

}  // namespace proto
