// PUBLISH and its four acknowledgements. [MQTT5 3.3 - 3.7]
#include "proto/byte_reader.h"
#include "proto/codec.h"
#include "proto/decode_error.h"
#include "proto/property_codec.h"
#include "proto/reason_rules.h"
#include "proto/topic.h"
#include "proto/utf8.h"

namespace proto {

namespace {

std::optional<DecodeError> decode_publish_properties(ByteReader& reader, PublishProperties& out) {
  if (auto error = read_property_list(reader, ProtocolVersion::v5, out.block)) return error;
  PropertyParser parser(out.block, in(PacketType::publish));
  for (PropertyValue property; !parser.done();) {
    if (auto error = parser.next(property)) return error;
    switch (property.rule->id) {
      case PropertyId::message_expiry_interval:
        out.message_expiry_interval = property.number;
        break;
      case PropertyId::topic_alias:
        out.topic_alias = static_cast<uint16_t>(property.number);
        break;
      case PropertyId::subscription_identifier:
        out.subscription_identifiers.push_back(property.number);
        break;
      default:  // stays in the block
        break;
    }
  }
  return std::nullopt;
}

// Before MQTT 3.1.1 a PUBREL could say that it is sent again.
bool has_valid_flags(const Frame& frame, ProtocolVersion version) {
  if (frame.type != PacketType::pubrel) return frame.flags == 0;  // [MQTT-2.1.3-1]
  const unsigned dup = version == ProtocolVersion::v3_1 ? 0x08 : 0;
  return (frame.flags & ~dup) == 0x02;  // [MQTT-3.6.1-1]
}

}  // namespace

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Publish& out) {
  const unsigned qos = (frame.flags >> 1) & 3u;
  out.qos = static_cast<QoS>(qos);
  out.dup = (frame.flags & 0x08) != 0;
  out.retain = (frame.flags & 0x01) != 0;
  if (qos == 3) return malformed("PUBLISH: QoS 3");                      // [MQTT-3.3.1-4]
  if (out.dup && qos == 0) return malformed("PUBLISH: DUP with QoS 0");  // [MQTT-3.3.1-2]

  ByteReader reader(frame.body);
  if (!reader.prefixed(out.topic)) return malformed("PUBLISH: topic name");
  out.packet_id = 0;
  if (qos != 0) {
    if (!reader.u16(out.packet_id)) return malformed("PUBLISH: packet identifier");
    if (out.packet_id == 0) return protocol_error("PUBLISH: packet identifier 0");  // [MQTT-2.2.1-3]
  }
  out.properties.message_expiry_interval.reset();
  out.properties.topic_alias = 0;
  out.properties.subscription_identifiers.clear();
  out.properties.block = {};
  if (version == ProtocolVersion::v5) {
    if (auto error = decode_publish_properties(reader, out.properties)) return error;
  }
  out.payload = reader.rest();

  if (out.topic.empty()) {
    if (version != ProtocolVersion::v5) return DecodeError{ReasonCode::topic_name_invalid, "PUBLISH: empty topic name"};
    if (out.properties.topic_alias == 0) return protocol_error("PUBLISH: neither topic name nor alias");
    return std::nullopt;
  }
  if (!is_valid_utf8(out.topic)) return malformed("PUBLISH: topic name is not UTF-8");  // [MQTT-3.3.2-1]
  if (has_wildcard(out.topic))
    return DecodeError{ReasonCode::topic_name_invalid, "PUBLISH: wildcard in topic name"};  // [MQTT-3.3.2-2]
  return std::nullopt;
}

std::optional<DecodeError> decode(const Frame& frame, ProtocolVersion version, Ack& out) {
  out.reason = ReasonCode::success;
  clear(out.properties);
  if (!has_valid_flags(frame, version)) return malformed("acknowledgement: reserved flags");
  ByteReader reader(frame.body);
  if (!reader.u16(out.packet_id)) return malformed("acknowledgement: packet identifier");
  if (out.packet_id == 0) return protocol_error("acknowledgement: packet identifier 0");
  if (reader.empty()) return std::nullopt;
  if (version != ProtocolVersion::v5) return malformed("acknowledgement: bytes behind the packet identifier");
  uint8_t reason;
  reader.u8(reason);
  out.reason = static_cast<ReasonCode>(reason);
  if (!may_stand_in(out.reason, frame.type)) return protocol_error("acknowledgement: reason code");
  if (reader.empty()) return std::nullopt;
  if (auto error = decode_properties(reader, version, in(frame.type), out.properties)) return error;
  if (!reader.empty()) return malformed("acknowledgement: bytes behind the properties");
  return std::nullopt;
}

}  // namespace proto
