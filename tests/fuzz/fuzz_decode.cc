// One packet type's decoder in every version: whatever it accepts encodes to bytes that decode to the same packet, and
// that encode to themselves. Built once per packet type; MM_FUZZ_PACKET names it, "ack" and "ping" stand for several.
//
// Input: first byte of the fixed header, of which the type counts only to choose among several; the body.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "proto/codec.h"
#include "proto/print.h"

using namespace proto;

namespace types {
inline constexpr PacketType connect[] = {PacketType::connect};
inline constexpr PacketType connack[] = {PacketType::connack};
inline constexpr PacketType publish[] = {PacketType::publish};
inline constexpr PacketType ack[] = {PacketType::puback, PacketType::pubrec, PacketType::pubrel, PacketType::pubcomp};
inline constexpr PacketType subscribe[] = {PacketType::subscribe};
inline constexpr PacketType suback[] = {PacketType::suback};
inline constexpr PacketType unsubscribe[] = {PacketType::unsubscribe};
inline constexpr PacketType unsuback[] = {PacketType::unsuback};
inline constexpr PacketType ping[] = {PacketType::pingreq, PacketType::pingresp};
inline constexpr PacketType disconnect[] = {PacketType::disconnect};
inline constexpr PacketType auth[] = {PacketType::auth};
inline constexpr auto& chosen = MM_FUZZ_PACKET;
}  // namespace types

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// What encode() wants: a PUBLISH whose block holds forwarded properties only. `storage` then owns the block.
Packet to_encode(Packet packet, std::string& storage) {
  if (auto* publish = std::get_if<Publish>(&packet)) {
    storage.resize(forwarded_properties_size(publish->properties.block));
    const char* end = copy_forwarded_properties(publish->properties.block, storage.data());
    require(end == storage.data() + storage.size());
    publish->properties.block = storage;
  }
  return packet;
}

// CONNECT names its own version.
ProtocolVersion version_of(const Packet& packet, ProtocolVersion version) {
  const auto* connect = std::get_if<Connect>(&packet);
  return connect ? connect->version : version;
}

Frame only_frame(std::string_view bytes) {
  Framer framer(kMaxPacketSize);
  Frame frame;
  require(framer.next(bytes, frame) == Framer::Result::frame && bytes.empty());
  return frame;
}

void check(const Frame& frame, ProtocolVersion version) {
  const auto decoded = decode_any(frame, version);
  if (const auto* error = std::get_if<DecodeError>(&decoded)) {
    require(is_error(error->reason) && error->what[0] != '\0');
    return;
  }
  std::string block;
  const Packet packet = to_encode(std::get<Packet>(decoded), block);
  version = version_of(packet, version);
  require(!describe(packet).empty());
  std::string bytes;
  encode(packet, version, bytes);

  const auto again = decode_any(only_frame(bytes), version);
  require(std::holds_alternative<Packet>(again));
  std::string block_again;
  const Packet packet_again = to_encode(std::get<Packet>(again), block_again);
  require(packet_again == packet);
  std::string bytes_again;
  encode(packet_again, version, bytes_again);
  require(bytes_again == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Frame frame;
  frame.type = types::chosen[(data[0] >> 4) % std::size(types::chosen)];
  frame.flags = data[0] & 0x0F;
  frame.body = std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (const auto version : {ProtocolVersion::v3_1, ProtocolVersion::v3_1_1, ProtocolVersion::v5})
    check(frame, version);
  return 0;
}
