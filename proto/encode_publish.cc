// PUBLISH and the acknowledgements without properties: what a server writes for every message.
#include "proto/byte_writer.h"
#include "proto/codec.h"

namespace proto {

namespace {

// Of MQTT 5's property list, without its length.
size_t properties_size(const PublishHead& head) {
  size_t size = head.forwarded_properties.size();
  if (head.topic_alias != 0) size += 3;
  if (head.message_expiry_interval) size += 5;
  for (size_t i = 0; i < head.subscription_identifier_count; ++i) {
    size += 1 + variable_size(head.subscription_identifiers[i]);
  }
  return size;
}

struct Sizes {
  uint64_t properties = 0;
  uint64_t remaining = 0;  // the remaining length
};

Sizes sizes(const PublishHead& head) {
  Sizes result;
  result.remaining = 2 + head.topic.size() + head.payload_size;
  if (head.qos != QoS::at_most_once) result.remaining += 2;
  if (head.version == ProtocolVersion::v5) {
    result.properties = properties_size(head);
    result.remaining += variable_size(result.properties) + result.properties;
  }
  return result;
}

inline char* put_id(char* out, PropertyId id) {
  return put_u8(out, static_cast<unsigned>(id));
}

}  // namespace

PublishSize publish_size(const PublishHead& head) {
  const uint64_t remaining = sizes(head).remaining;
  const uint64_t total = 1 + variable_size(remaining) + remaining;
  return {total - head.payload_size, total};
}

char* write_publish_head(const PublishHead& head, char* out) {
  const Sizes size = sizes(head);
  out = put_u8(out, static_cast<unsigned>(PacketType::publish) << 4 | (head.dup ? 0x08u : 0) |
                        static_cast<unsigned>(head.qos) << 1 | (head.retain ? 0x01u : 0));
  out = put_variable(out, size.remaining);
  out = put_prefixed(out, head.topic);
  if (head.qos != QoS::at_most_once) out = put_u16(out, head.packet_id);
  if (head.version != ProtocolVersion::v5) return out;

  out = put_variable(out, size.properties);
  if (head.topic_alias != 0) out = put_u16(put_id(out, PropertyId::topic_alias), head.topic_alias);
  if (head.message_expiry_interval) {
    out = put_u32(put_id(out, PropertyId::message_expiry_interval), *head.message_expiry_interval);
  }
  for (size_t i = 0; i < head.subscription_identifier_count; ++i) {
    out = put_variable(put_id(out, PropertyId::subscription_identifier), head.subscription_identifiers[i]);
  }
  return put_bytes(out, head.forwarded_properties);
}

char* write_ack(PacketType type, ProtocolVersion version, uint16_t packet_id, ReasonCode reason, char* out) {
  const bool with_reason = version == ProtocolVersion::v5 && reason != ReasonCode::success;
  // PUBREL alone has flag bits. [MQTT-3.6.1-1]
  out = put_u8(out, static_cast<unsigned>(type) << 4 | (type == PacketType::pubrel ? 0x02u : 0));
  out = put_u16(put_u8(out, with_reason ? 3 : 2), packet_id);
  return with_reason ? put_u8(out, static_cast<unsigned>(reason)) : out;
}

void encode(const Publish& packet, ProtocolVersion version, std::string& out) {
  PublishHead head;
  head.version = version;
  head.dup = packet.dup;
  head.qos = packet.qos;
  head.retain = packet.retain;
  head.packet_id = packet.packet_id;
  head.topic = packet.topic;
  head.payload_size = packet.payload.size();
  head.topic_alias = packet.properties.topic_alias;
  head.message_expiry_interval = packet.properties.message_expiry_interval;
  head.subscription_identifiers = packet.properties.subscription_identifiers.data();
  head.subscription_identifier_count = packet.properties.subscription_identifiers.size();
  head.forwarded_properties = packet.properties.block;
  const size_t start = out.size();
  out.resize(start + publish_size(head).head);
  write_publish_head(head, out.data() + start);
  out.append(packet.payload);
}

}  // namespace proto
