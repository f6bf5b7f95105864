// SUBSCRIBE, UNSUBSCRIBE and their acknowledgements. [MQTT5 3.8 - 3.11]
#include "proto/byte_reader.h"
#include "proto/codec.h"
#include "proto/decode_error.h"
#include "proto/property_codec.h"
#include "proto/reason_rules.h"
#include "proto/topic.h"
#include "proto/utf8.h"

namespace proto {

namespace {

// What all four begin with.
std::optional<DecodeError> decode_head(const Frame& frame, ByteReader& reader, ProtocolVersion version,
                                       uint16_t& packet_id, Properties& properties) {
  if (!reader.u16(packet_id)) return malformed("packet identifier");
  if (packet_id == 0) return protocol_error("packet identifier 0");  // [MQTT-2.2.1-3]
  return decode_properties(reader, version, in(frame.type), properties);
}

// Requests carry the flag bits 0010. [MQTT-3.8.1-1], [MQTT-3.10.1-1] Before MQTT 3.1.1 they could be marked DUP.
bool has_request_flags(const Frame& frame, ProtocolVersion version) {
  const unsigned dup = version == ProtocolVersion::v3_1 ? 0x08 : 0;
  return (frame.flags & ~dup) == 0x02;
}

// Wildcards in the wrong place are not looked at: the answer to those is a reason code of their own.
std::optional<DecodeError> decode_filter(ByteReader& reader, std::string_view& filter) {
  if (!reader.prefixed(filter)) return malformed("topic filter");
  if (filter.empty()) return malformed("empty topic filter");                 // [MQTT-4.7.3-1]
  if (!is_valid_utf8(filter)) return malformed("topic filter is not UTF-8");  // [MQTT-3.8.3-1], [MQTT-3.10.3-1]
  return std::nullopt;
}

// [MQTT5 3.8.3.1], [MQTT3.1.1 3.8.3]
std::optional<DecodeError> decode_options(uint8_t bits, ProtocolVersion version, SubscribeEntry& out) {
  const bool v5 = version == ProtocolVersion::v5;
  const unsigned qos = bits & 3u;
  const unsigned retain_handling = (bits >> 4) & 3u;
  if ((bits & (v5 ? 0xC0 : 0xFC)) != 0) return malformed("SUBSCRIBE: reserved option bits");  // [MQTT-3.8.3-5]
  if (qos == 3) return v5 ? protocol_error("SUBSCRIBE: QoS 3") : malformed("SUBSCRIBE: QoS 3");
  if (retain_handling == 3) return protocol_error("SUBSCRIBE: retain handling 3");
  out.qos = static_cast<QoS>(qos);
  out.no_local = (bits & 0x04) != 0;
  out.retain_as_published = (bits & 0x08) != 0;
  out.retain_handling = static_cast<RetainHandling>(retain_handling);
  if (out.no_local && parse_shared_filter(out.filter)) {
    return protocol_error("SUBSCRIBE: no local on a shared subscription");  // [MQTT-3.8.3-4]
  }
  return std::nullopt;
}

std::optional<DecodeError> decode_reasons(ByteReader& reader, const Frame& frame, std::vector<ReasonCode>& out) {
  out.clear();
  for (const char byte : reader.rest()) {
    const auto reason = static_cast<ReasonCode>(byte);
    if (!may_stand_in(reason, frame.type)) return protocol_error("reason code");
    out.push_back(reason);
  }
  if (out.empty()) return protocol_error("no reason codes");
  return std::nullopt;
}

}  // namespace

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Subscribe& out) {
  if (!has_request_flags(frame, version)) return malformed("SUBSCRIBE: reserved flags");
  ByteReader reader(frame.body);
  if (auto error = decode_head(frame, reader, version, out.packet_id, out.properties)) return error;
  out.entries.clear();
  while (!reader.empty()) {
    SubscribeEntry& entry = out.entries.emplace_back();
    if (auto error = decode_filter(reader, entry.filter)) return error;
    uint8_t options;
    if (!reader.u8(options)) return malformed("SUBSCRIBE: options");
    if (auto error = decode_options(options, version, entry)) return error;
  }
  if (out.entries.empty()) return protocol_error("SUBSCRIBE: no topic filter");  // [MQTT-3.8.3-2]
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Unsubscribe& out) {
  if (!has_request_flags(frame, version)) return malformed("UNSUBSCRIBE: reserved flags");
  ByteReader reader(frame.body);
  if (auto error = decode_head(frame, reader, version, out.packet_id, out.properties)) return error;
  out.filters.clear();
  while (!reader.empty()) {
    if (auto error = decode_filter(reader, out.filters.emplace_back())) return error;
  }
  if (out.filters.empty()) return protocol_error("UNSUBSCRIBE: no topic filter");  // [MQTT-3.10.3-2]
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Suback& out) {
  if (frame.flags != 0) return malformed("SUBACK: reserved flags");  // [MQTT-2.1.3-1]
  ByteReader reader(frame.body);
  if (auto error = decode_head(frame, reader, version, out.packet_id, out.properties)) return error;
  if (auto error = decode_reasons(reader, frame, out.reasons)) return error;
  if (version == ProtocolVersion::v5) return std::nullopt;
  for (const ReasonCode reason : out.reasons) {
    if (reason > ReasonCode::unspecified_error)
      return protocol_error("SUBACK: reason code");  // [MQTT3.1.1 MQTT-3.9.3-2]
  }
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Unsuback& out) {
  if (frame.flags != 0) return malformed("UNSUBACK: reserved flags");  // [MQTT-2.1.3-1]
  ByteReader reader(frame.body);
  if (auto error = decode_head(frame, reader, version, out.packet_id, out.properties)) return error;
  if (version == ProtocolVersion::v5) return decode_reasons(reader, frame, out.reasons);
  out.reasons.clear();
  if (!reader.empty()) return malformed("UNSUBACK: bytes behind the packet identifier");
  return std::nullopt;
}

}  // namespace proto
