#include "tests/bench/wire.h"

#include <cstring>
#include <stdexcept>

namespace bench {
namespace {

uint16_t read_u16(const char* at) {
  return static_cast<uint16_t>((static_cast<uint8_t>(at[0]) << 8) | static_cast<uint8_t>(at[1]));
}

void append_u16(std::string& out, size_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value & 0xff));
}

void append_string(std::string& out, std::string_view text) {
  append_u16(out, text.size());
  out.append(text);
}

// Reads a variable byte integer at the front of `bytes`; returns its length, 0 when it is cut short.
size_t read_varint(std::string_view bytes, uint32_t& value) {
  value = 0;
  for (size_t i = 0; i < 4; ++i) {
    if (i == bytes.size()) return 0;
    const auto byte = static_cast<uint8_t>(bytes[i]);
    value |= (byte & 0x7fU) << (7 * i);
    if ((byte & 0x80) == 0) return i + 1;
  }
  throw std::runtime_error("malformed length from the broker");
}

std::string with_fixed_header(uint8_t header, std::string_view body) {
  std::string packet(1, static_cast<char>(header));
  size_t rest = body.size();
  do {
    const size_t more = rest >= 128 ? 0x80 : 0;
    packet.push_back(static_cast<char>((rest & 0x7f) | more));
    rest >>= 7;
  } while (rest > 0);
  return packet.append(body);
}

}  // namespace

size_t next_frame(std::string_view bytes, Frame& frame) {
  if (bytes.size() < 2) return 0;
  uint32_t length = 0;
  const size_t varint = read_varint(bytes.substr(1), length);
  if (varint == 0 || bytes.size() - 1 - varint < length) return 0;
  frame.header = static_cast<uint8_t>(bytes[0]);
  frame.body = bytes.substr(1 + varint, length);
  return 1 + varint + length;
}

std::optional<Publish> parse_publish(const Frame& frame, Protocol protocol) {
  std::string_view rest = frame.body;
  Publish publish;
  publish.qos = (frame.header >> 1) & 3;
  if (rest.size() < 2) return std::nullopt;
  const size_t topic_size = read_u16(rest.data());
  const size_t head = 2 + topic_size + (publish.qos > 0 ? 2 : 0);
  if (rest.size() < head) return std::nullopt;
  publish.topic = rest.substr(2, topic_size);
  if (publish.qos > 0) publish.packet_id = read_u16(rest.data() + head - 2);
  rest.remove_prefix(head);
  if (protocol == Protocol::kMqtt5) {
    uint32_t properties = 0;
    const size_t varint = read_varint(rest, properties);
    if (varint == 0 || rest.size() - varint < properties) return std::nullopt;
    rest.remove_prefix(varint + properties);
  }
  publish.payload = rest;
  return publish;
}

std::optional<uint16_t> parse_packet_id(const Frame& frame) {
  if (frame.body.size() < 2) return std::nullopt;
  return read_u16(frame.body.data());
}

uint8_t ack_reason(const Frame& frame) {
  return frame.body.size() > 2 ? static_cast<uint8_t>(frame.body[2]) : 0;
}

Stamp read_stamp(std::string_view payload) {
  Stamp stamp;
  if (payload.size() < Stamp::kSize) throw std::runtime_error("a message came back with a payload cut short");
  std::memcpy(&stamp.sent_at, payload.data(), 8);
  std::memcpy(&stamp.publisher, payload.data() + 8, 4);
  std::memcpy(&stamp.sequence, payload.data() + 12, 4);
  return stamp;
}

void write_stamp(char* payload, const Stamp& stamp) {
  std::memcpy(payload, &stamp.sent_at, 8);
  std::memcpy(payload + 8, &stamp.publisher, 4);
  std::memcpy(payload + 12, &stamp.sequence, 4);
}

void write_u16(char* at, uint16_t value) {
  at[0] = static_cast<char>(value >> 8);
  at[1] = static_cast<char>(value & 0xff);
}

std::string encode_connect(std::string_view client_id, Protocol protocol, bool durable) {
  constexpr uint16_t kKeepAliveSeconds = 300;
  constexpr char kCleanStart = 2;
  std::string body;
  append_string(body, "MQTT");
  body.push_back(static_cast<char>(protocol));
  body.push_back(durable ? 0 : kCleanStart);
  append_u16(body, kKeepAliveSeconds);
  using namespace std::string_view_literals;
  constexpr std::string_view kExpiry = "\x05\x11\x00\x00\x0e\x10"sv;
  if (protocol == Protocol::kMqtt5) body += durable ? kExpiry : "\0"sv;
  append_string(body, client_id);
  return with_fixed_header(0x10, body);
}

std::string encode_subscribe(uint16_t packet_id, const std::vector<std::string>& filters, int qos, Protocol protocol) {
  std::string body;
  append_u16(body, packet_id);
  if (protocol == Protocol::kMqtt5) body.push_back(0);
  for (const std::string& filter : filters) {
    append_string(body, filter);
    body.push_back(static_cast<char>(qos));
  }
  return with_fixed_header(0x82, body);
}

void append_ack(std::string& out, PacketType type, uint16_t packet_id) {
  const uint8_t flags = type == PacketType::kPubrel ? 2 : 0;  // [MQTT-3.6.1-1]
  const char packet[4] = {static_cast<char>((static_cast<uint8_t>(type) << 4) | flags), 2,
                          static_cast<char>(packet_id >> 8), static_cast<char>(packet_id & 0xff)};
  out.append(packet, sizeof packet);
}

PublishTemplate encode_publish(std::string_view topic, size_t payload_size, int qos, Protocol protocol) {
  std::string body;
  append_string(body, topic);
  if (qos > 0) append_u16(body, 0);
  const size_t packet_id_end = body.size();
  if (protocol == Protocol::kMqtt5) body.push_back(0);
  body.append(payload_size, 'x');

  PublishTemplate result;
  result.bytes = with_fixed_header(static_cast<uint8_t>(0x30 | (qos << 1)), body);
  const size_t fixed_header = result.bytes.size() - body.size();
  result.packet_id_at = fixed_header + packet_id_end - 2;
  result.payload_at = result.bytes.size() - payload_size;
  return result;
}

}  // namespace bench
