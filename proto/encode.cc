// Every packet but PUBLISH, which has its own file: encode_publish.cc.
#include <variant>

#include "proto/byte_writer.h"
#include "proto/codec.h"
#include "proto/property_codec.h"

namespace proto {

namespace {

bool has_properties(const Properties& properties) {
  return properties != Properties{};
}

unsigned first_byte(PacketType type, unsigned flags = 0) {
  return static_cast<unsigned>(type) << 4 | flags;
}

// Fixed header, and what `body` appends behind it.
template <typename Body>
void encode_packet(PacketType type, unsigned flags, std::string& out, Body body) {
  ByteWriter writer(out);
  writer.u8(first_byte(type, flags));
  writer.counted([&] { body(writer); });
}

unsigned connect_flags(const Connect& packet) {
  unsigned bits = packet.clean_start ? 0x02 : 0;
  if (packet.will) {
    bits |= 0x04 | static_cast<unsigned>(packet.will->qos) << 3;
    if (packet.will->retain) bits |= 0x20;
  }
  if (packet.password) bits |= 0x40;
  if (packet.user_name) bits |= 0x80;
  return bits;
}

void encode_ack(PacketType type, const Ack& packet, ProtocolVersion version, std::string& out) {
  const bool properties = version == ProtocolVersion::v5 && has_properties(packet.properties);
  if (!properties) {
    char bytes[5];
    out.append(bytes, write_ack(type, version, packet.packet_id, packet.reason, bytes));
    return;
  }
  encode_packet(type, type == PacketType::pubrel ? 0x02 : 0, out, [&](ByteWriter& writer) {
    writer.u16(packet.packet_id);
    writer.u8(static_cast<unsigned>(packet.reason));
    encode_properties(packet.properties, version, writer);
  });
}

// [MQTT5 3.8.3.1]; before MQTT 5 only the QoS.
unsigned subscribe_options(const SubscribeEntry& entry, ProtocolVersion version) {
  const auto qos = static_cast<unsigned>(entry.qos);
  if (version != ProtocolVersion::v5) return qos;
  return qos | (entry.no_local ? 0x04u : 0) | (entry.retain_as_published ? 0x08u : 0) |
         static_cast<unsigned>(entry.retain_handling) << 4;
}

}  // namespace

void encode(const Connect& packet, std::string& out) {
  const bool v3_1 = packet.version == ProtocolVersion::v3_1;
  encode_packet(PacketType::connect, 0, out, [&](ByteWriter& writer) {
    writer.prefixed(v3_1 ? "MQIsdp" : "MQTT");
    writer.u8(static_cast<unsigned>(packet.version) | (packet.bridge ? 0x80u : 0));
    writer.u8(connect_flags(packet));
    writer.u16(packet.keep_alive);
    encode_properties(packet.properties, packet.version, writer);
    writer.prefixed(packet.client_id);
    if (packet.will) {
      encode_properties(packet.will->properties, packet.version, writer);
      writer.prefixed(packet.will->topic);
      writer.prefixed(packet.will->payload);
    }
    if (packet.user_name) writer.prefixed(*packet.user_name);
    if (packet.password) writer.prefixed(*packet.password);
  });
}

void encode(const Connack& packet, ProtocolVersion version, std::string& out) {
  const bool v5 = version == ProtocolVersion::v5;
  // MQTT 3.1 has no such flag: the byte is reserved.
  const bool session_present = packet.session_present && version != ProtocolVersion::v3_1;
  encode_packet(PacketType::connack, 0, out, [&](ByteWriter& writer) {
    writer.u8(session_present ? 1 : 0);
    writer.u8(v5 ? static_cast<unsigned>(packet.reason) : static_cast<unsigned>(to_return_code(packet.reason)));
    encode_properties(packet.properties, version, writer);
  });
}

void encode(const Puback& packet, ProtocolVersion version, std::string& out) {
  encode_ack(PacketType::puback, packet, version, out);
}

void encode(const Pubrec& packet, ProtocolVersion version, std::string& out) {
  encode_ack(PacketType::pubrec, packet, version, out);
}

void encode(const Pubrel& packet, ProtocolVersion version, std::string& out) {
  encode_ack(PacketType::pubrel, packet, version, out);
}

void encode(const Pubcomp& packet, ProtocolVersion version, std::string& out) {
  encode_ack(PacketType::pubcomp, packet, version, out);
}

void encode(const Subscribe& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::subscribe, 0x02, out, [&](ByteWriter& writer) {
    writer.u16(packet.packet_id);
    encode_properties(packet.properties, version, writer);
    for (const SubscribeEntry& entry : packet.entries) {
      writer.prefixed(entry.filter);
      writer.u8(subscribe_options(entry, version));
    }
  });
}

void encode(const Suback& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::suback, 0, out, [&](ByteWriter& writer) {
    writer.u16(packet.packet_id);
    encode_properties(packet.properties, version, writer);
    for (const ReasonCode reason : packet.reasons) {
      const bool hidden = version != ProtocolVersion::v5 && is_error(reason);
      writer.u8(static_cast<unsigned>(hidden ? ReasonCode::unspecified_error : reason));
    }
  });
}

void encode(const Unsubscribe& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::unsubscribe, 0x02, out, [&](ByteWriter& writer) {
    writer.u16(packet.packet_id);
    encode_properties(packet.properties, version, writer);
    for (const std::string_view filter : packet.filters) writer.prefixed(filter);
  });
}

void encode(const Unsuback& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::unsuback, 0, out, [&](ByteWriter& writer) {
    writer.u16(packet.packet_id);
    encode_properties(packet.properties, version, writer);
    if (version != ProtocolVersion::v5) return;
    for (const ReasonCode reason : packet.reasons) writer.u8(static_cast<unsigned>(reason));
  });
}

void encode(const Pingreq&, ProtocolVersion, std::string& out) {
  encode_packet(PacketType::pingreq, 0, out, [](ByteWriter&) {});
}

void encode(const Pingresp&, ProtocolVersion, std::string& out) {
  encode_packet(PacketType::pingresp, 0, out, [](ByteWriter&) {});
}

// The reason and then the properties are left out where they say nothing. [MQTT5 3.14.2.1], [MQTT5 3.14.2.2.1]
void encode(const Disconnect& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::disconnect, 0, out, [&](ByteWriter& writer) {
    if (version != ProtocolVersion::v5) return;
    const bool properties = has_properties(packet.properties);
    if (properties || packet.reason != ReasonCode::normal_disconnection) {
      writer.u8(static_cast<unsigned>(packet.reason));
    }
    if (properties) encode_properties(packet.properties, version, writer);
  });
}

void encode(const Auth& packet, ProtocolVersion version, std::string& out) {
  encode_packet(PacketType::auth, 0, out, [&](ByteWriter& writer) {
    // [MQTT5 3.15.2.1]
    if (packet.reason == ReasonCode::success && !has_properties(packet.properties)) return;
    writer.u8(static_cast<unsigned>(packet.reason));
    encode_properties(packet.properties, version, writer);
  });
}

void encode(const Packet& packet, ProtocolVersion version, std::string& out) {
  std::visit(
      [&](const auto& one) {
        if constexpr (requires { encode(one, out); }) {
          encode(one, out);
        } else {
          encode(one, version, out);
        }
      },
      packet);
}

}  // namespace proto
