// The few MQTT 3.1.1 and 5.0 packets that the benchmark sends, and a scanner for those that it gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

enum class Protocol : uint8_t { kMqtt311 = 4, kMqtt5 = 5 };

enum class PacketType : uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kPubrec = 5,
  kPubrel = 6,
  kPubcomp = 7,
  kSubscribe = 8,
  kSuback = 9,
  kDisconnect = 14
};

// A whole packet inside a receive buffer; valid as long as the buffer is.
struct Frame {
  uint8_t header = 0;
  std::string_view body;

  PacketType type() const { return static_cast<PacketType>(header >> 4); }
};

struct Publish {
  int qos = 0;
  uint16_t packet_id = 0;
  std::string_view topic;
  std::string_view payload;
};

// What a bench message carries at the front of its payload.
struct Stamp {
  static constexpr size_t kSize = 16;

  uint64_t sent_at = 0;  // nanoseconds of the monotonic clock
  uint32_t publisher = 0;
  uint32_t sequence = 0;
};

// Finds the packet at the front of `bytes`. Returns its length, 0 when it is not complete yet.
// Throws std::runtime_error when the remaining length is malformed.
size_t next_frame(std::string_view bytes, Frame& frame);

// Each returns nothing when the body is too short for what it must hold.
std::optional<Publish> parse_publish(const Frame& frame, Protocol protocol);
std::optional<uint16_t> parse_packet_id(const Frame& frame);
// The reason code of an acknowledgement, 0 when it is left out.
uint8_t ack_reason(const Frame& frame);

Stamp read_stamp(std::string_view payload);
// REQUIRES: `payload` points to at least Stamp::kSize bytes.
void write_stamp(char* payload, const Stamp& stamp);
void write_u16(char* at, uint16_t value);

// A durable client has a session that outlives its connection, by an hour at MQTT 5.
std::string encode_connect(std::string_view client_id, Protocol protocol, bool durable = false);
std::string encode_subscribe(uint16_t packet_id, const std::vector<std::string>& filters, int qos, Protocol protocol);
void append_ack(std::string& out, PacketType type, uint16_t packet_id);

// One encoded PUBLISH with the places that change from message to message.
struct PublishTemplate {
  std::string bytes;
  size_t packet_id_at = 0;  // only used at QoS > 0
  size_t payload_at = 0;
};
PublishTemplate encode_publish(std::string_view topic, size_t payload_size, int qos, Protocol protocol);

}  // namespace bench
