// Every wire vector of tests/vectors, fed in every way.
#include <sstream>

#include "proto/print.h"
#include "tests/unit/proto/wire.h"

using namespace proto;
using vectors::Vector;
using wire::Cut;

namespace {

std::string verdict_of(ReasonCode reason) {
  if (reason == ReasonCode::malformed_packet) return "malformed_packet";
  if (reason == ReasonCode::protocol_error) return "protocol_error";
  if (reason == ReasonCode::topic_name_invalid) return "topic_name_invalid";
  if (reason == ReasonCode::topic_alias_invalid) return "topic_alias_invalid";
  if (reason == ReasonCode::unsupported_protocol_version) return "unsupported_protocol_version";
  return std::string(to_string(reason));
}

// What becomes of a vector's bytes: the packet as text, or the verdict against them.
struct Outcome {
  std::string verdict;
  std::string description;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const Cut& cut, const Vector& vector) {
  if (cut.frames.empty() && cut.error != ReasonCode::success) return {verdict_of(cut.error), ""};
  if (cut.frames.empty()) return {"incomplete", ""};
  const auto decoded = decode_any(cut.frames[0].view(), vector.version);
  if (const auto* error = std::get_if<DecodeError>(&decoded)) return {verdict_of(error->reason), ""};
  const auto& packet = std::get<Packet>(decoded);
  std::string storage;
  const std::string again = wire::encoded(wire::to_encode(packet, storage), vector.version);
  return {again == vector.bytes ? "valid" : "accepted", describe(packet)};
}

const std::vector<Vector>& all_vectors() {
  static const std::vector<Vector> vectors = vectors::load_all(MM_VECTORS);
  return vectors;
}

}  // namespace

TEST_CASE("vectors: there are some for every packet") {
  unsigned types = 0;
  for (const Vector& vector : all_vectors()) types |= 1u << (static_cast<unsigned char>(vector.bytes[0]) >> 4);
  CHECK(types == 0xFFFF);
  CHECK(all_vectors().size() > 300);
}

TEST_CASE("vectors: fed whole, each gets its verdict and its description") {
  for (const Vector& vector : all_vectors()) {
    CAPTURE(vector.where);
    CAPTURE(vector.sentence);
    const Outcome got = outcome(wire::cut(vector.bytes, wire::whole()), vector);
    CHECK(got.verdict == vector.verdict);
    CHECK(got.description == vector.description);
  }
}

TEST_CASE("vectors: in two pieces, byte by byte and in random pieces, each is the same as whole") {
  std::mt19937 random(20240601);
  for (const Vector& vector : all_vectors()) {
    CAPTURE(vector.where);
    const Cut expected = wire::cut(vector.bytes, wire::whole());
    const size_t step = 1 + vector.bytes.size() / 200;
    for (size_t at = 1; at < vector.bytes.size(); at += step)
      CHECK(wire::cut(vector.bytes, wire::split_at(at)) == expected);
    CHECK(wire::cut(vector.bytes, wire::pieces(1)) == expected);
    for (const size_t longest : {2, 5, 17, 1000}) {
      CHECK(wire::cut(vector.bytes, wire::random_chunks(random, longest)) == expected);
    }
  }
}

TEST_CASE("vectors: what is accepted decodes from its own encoding to the same packet") {
  for (const Vector& vector : all_vectors()) {
    if (vector.verdict != "accepted") continue;
    CAPTURE(vector.where);
    const auto frame = wire::only_frame(vector.bytes);
    std::string storage;
    const Packet packet = wire::to_encode(std::get<Packet>(decode_any(frame.view(), vector.version)), storage);
    const auto again = wire::only_frame(wire::encoded(packet, vector.version));
    const auto decoded = decode_any(again.view(), vector.version);
    REQUIRE(std::holds_alternative<Packet>(decoded));
    CHECK((wire::comparable(std::get<Packet>(decoded)) == wire::comparable(packet)));
  }
}

TEST_CASE("vectors: a CONNECT or CONNACK cut short is never a shorter packet") {
  for (const Vector& vector : all_vectors()) {
    const auto type = static_cast<unsigned char>(vector.bytes[0]) >> 4;
    // MQTT 3.1 lets a user name and password be missing.
    if (!vector.is_packet() || type > 2 || vector.version == ProtocolVersion::v3_1) continue;
    CAPTURE(vector.where);
    const auto frame = wire::only_frame(vector.bytes);
    const size_t step = 1 + frame.body.size() / 200;
    for (size_t size = 0; size < frame.body.size(); size += step) {
      const auto cut = frame.body.substr(0, size);
      CHECK(std::holds_alternative<DecodeError>(decode_any({frame.type, frame.flags, cut}, vector.version)));
    }
  }
}

TEST_CASE("vectors: all packets in one stream come out one by one, however it is cut") {
  std::string stream;
  size_t count = 0;
  for (const Vector& vector : all_vectors()) {
    if (!vector.is_packet()) continue;
    stream += vector.bytes;
    ++count;
  }
  const Cut expected = wire::cut(stream, wire::whole());
  CHECK(expected.frames.size() == count);
  CHECK_FALSE(expected.mid_packet);
  std::mt19937 random(7);
  for (const size_t longest : {1, 3, 100, 5000, 100000}) {
    CHECK(wire::cut(stream, wire::random_chunks(random, longest)) == expected);
  }
}

TEST_CASE("vectors: the dialect") {
  using namespace std::string_literals;
  CHECK(wire::bytes("00 ff 0A0b") == "\x00\xff\x0a\x0b"s);
  CHECK(wire::bytes("'a/b' \"hi\\x00\\\"\"") == "\x00\x03"s + "a/bhi\x00\""s);
  CHECK(wire::bytes("[ 61*200 ]") == "\xc8\x01"s + std::string(200, 'a'));
  CHECK(wire::bytes("{ 0102 } []") == "\x00\x02\x01\x02\x00"s);
  for (const char* wrong : {"0", "g0", "'a", "[ 00", "]", "\"a\\", "00 }"}) {
    CHECK_THROWS_AS(wire::bytes(wrong), std::invalid_argument);
  }
}
