// The vocabulary of the codec's tests.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "proto/codec.h"
#include "proto/framer.h"
#include "tests/vectors/vector_file.h"

namespace wire {

using vectors::bytes;

inline constexpr proto::ProtocolVersion kVersions[] = {proto::ProtocolVersion::v3_1, proto::ProtocolVersion::v3_1_1,
                                                       proto::ProtocolVersion::v5};

// A frame that owns its bytes.
struct OwnedFrame {
  proto::PacketType type;
  uint8_t flags;
  std::string body;
  bool operator==(const OwnedFrame&) const = default;

  proto::Frame view() const { return {type, flags, body}; }
};

// What a framer makes of a stream.
struct Cut {
  std::vector<OwnedFrame> frames;
  proto::ReasonCode error = proto::ReasonCode::success;
  bool mid_packet = false;
  bool operator==(const Cut&) const = default;
};

// Gives the next chunk's size, at least 1.
using Chunks = std::function<size_t()>;

inline Chunks whole() {
  return [] { return SIZE_MAX; };
}
inline Chunks pieces(size_t size) {
  return [size] { return size; };
}
inline Chunks split_at(size_t first) {
  return [size = first]() mutable { return std::exchange(size, SIZE_MAX); };
}
inline Chunks random_chunks(std::mt19937& random, size_t longest) {
  return [&random, longest] { return 1 + random() % longest; };
}

// Every chunk is a copy of its own, so that reading past its end or after its time shows under ASan.
inline Cut cut(std::string_view stream, const Chunks& chunks,
               proto::Framer framer = proto::Framer(proto::kMaxPacketSize)) {
  Cut result;
  while (!stream.empty()) {
    const std::vector<char> chunk(stream.begin(),
                                  stream.begin() + static_cast<long>(std::min(chunks(), stream.size())));
    stream.remove_prefix(chunk.size());
    std::string_view input(chunk.data(), chunk.size());
    proto::Frame frame;
    proto::Framer::Result got;
    while ((got = framer.next(input, frame)) == proto::Framer::Result::frame) {
      result.frames.push_back({frame.type, frame.flags, std::string(frame.body)});
    }
    if (got == proto::Framer::Result::error) {
      result.error = framer.error();
      break;
    }
    REQUIRE(input.empty());
  }
  result.mid_packet = framer.mid_packet();
  return result;
}

// The one frame that `packet` is.
inline OwnedFrame only_frame(std::string_view packet) {
  const Cut result = cut(packet, whole());
  REQUIRE(result.frames.size() == 1);
  REQUIRE_FALSE(result.mid_packet);
  return result.frames[0];
}

template <typename Body>
std::string encoded(const Body& packet, proto::ProtocolVersion version) {
  std::string out;
  proto::encode(packet, version, out);
  return out;
}
inline std::string encoded(const proto::Connect& packet) {
  std::string out;
  proto::encode(packet, out);
  return out;
}

// The bytes that `packet` must be, and that must be it again. A PUBLISH is compared without its property block, which
// is not the same decoded and to be encoded.
inline proto::Packet comparable(proto::Packet packet) {
  if (auto* publish = std::get_if<proto::Publish>(&packet)) publish->properties.block = {};
  return packet;
}
inline void check_wire(const proto::Packet& packet, proto::ProtocolVersion version, std::string_view dialect) {
  const std::string expected = bytes(dialect);
  CHECK(encoded(packet, version) == expected);
  const OwnedFrame frame = only_frame(expected);
  const auto decoded = proto::decode_any(frame.view(), version);
  REQUIRE(std::holds_alternative<proto::Packet>(decoded));
  CHECK((comparable(std::get<proto::Packet>(decoded)) == comparable(packet)));
}

// The reason for which `dialect` is refused; success if it is not.
inline proto::ReasonCode refusal(std::string_view dialect, proto::ProtocolVersion version) {
  const OwnedFrame frame = only_frame(bytes(dialect));
  const auto decoded = proto::decode_any(frame.view(), version);
  const auto* error = std::get_if<proto::DecodeError>(&decoded);
  return error ? error->reason : proto::ReasonCode::success;
}

// `packet` as encode() wants it: a PUBLISH with forwarded properties only in its block, which `storage` then holds.
inline proto::Packet to_encode(proto::Packet packet, std::string& storage) {
  if (auto* publish = std::get_if<proto::Publish>(&packet)) {
    storage.resize(proto::forwarded_properties_size(publish->properties.block));
    proto::copy_forwarded_properties(publish->properties.block, storage.data());
    publish->properties.block = storage;
  }
  return packet;
}

}  // namespace wire
