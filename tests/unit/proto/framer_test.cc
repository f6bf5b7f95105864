#include "proto/framer.h"

#include <memory>

#include "tests/unit/proto/wire.h"

using namespace proto;
using wire::bytes;
using Result = Framer::Result;

namespace {

// A buffer that records what the framer asked of it.
class TestBuffer : public PacketBuffer {
 public:
  char* data() override { return memory_.data(); }
  size_t capacity() const override { return memory_.size(); }
  void grow(size_t capacity) override {
    CHECK(capacity > memory_.size());
    memory_.resize(capacity);
    memory_.shrink_to_fit();
    ++grown;
  }
  int grown = 0;

 private:
  std::vector<char> memory_;
};

// Feeds `chunk` and expects that it holds no packet's end.
void feed_part(Framer& framer, std::string_view chunk) {
  Frame frame;
  CHECK(framer.next(chunk, frame) == Result::need_more);
  CHECK(chunk.empty());
}

Frame feed_end(Framer& framer, std::string_view chunk) {
  Frame frame;
  CHECK(framer.next(chunk, frame) == Result::frame);
  CHECK(chunk.empty());
  return frame;
}

ReasonCode error_of(Framer& framer, std::string_view chunk) {
  Frame frame;
  CHECK(framer.next(chunk, frame) == Result::error);
  return framer.error();
}

std::string publish(size_t body_size) {
  return bytes("30 [ 61*" + std::to_string(body_size) + " ]");
}

}  // namespace

TEST_CASE("framer: it is small, an idle connection has one") {
  CHECK(sizeof(Framer) <= 64);
}

TEST_CASE("framer: a whole packet is returned in place") {
  Framer framer(1000);
  const std::string packet = bytes("32 [ 'a' 0001 \"hi\" ]");
  const Frame frame = feed_end(framer, packet);
  CHECK(frame.type == PacketType::publish);
  CHECK(frame.flags == 2);
  CHECK(frame.body.data() == packet.data() + 2);
  CHECK(frame.body.size() == packet.size() - 2);
  CHECK(framer.take_buffer() == nullptr);
}

TEST_CASE("framer: two packets in one segment") {
  Framer framer(1000);
  const std::string packets = bytes("c0 00 40 02 0001 e0");
  std::string_view input = packets;
  Frame frame;
  CHECK(framer.next(input, frame) == Result::frame);
  CHECK(frame.type == PacketType::pingreq);
  CHECK(frame.body.empty());
  CHECK(framer.next(input, frame) == Result::frame);
  CHECK(frame.type == PacketType::puback);
  CHECK(frame.body == bytes("0001"));
  CHECK_FALSE(framer.mid_packet());
  CHECK(framer.next(input, frame) == Result::need_more);
  CHECK(framer.mid_packet());
  CHECK(framer.pending_type() == PacketType::disconnect);
}

TEST_CASE("framer: a body that is whole in the input is not copied, wherever its header came from") {
  Framer framer(1000);
  const std::string packet = publish(200);
  feed_part(framer, packet.substr(0, 1));
  feed_part(framer, packet.substr(1, 1));
  CHECK(framer.buffered() == 0);
  const std::string rest = packet.substr(2);
  CHECK(feed_end(framer, rest).body.data() == rest.data() + 1);
}

TEST_CASE("framer: it holds no more than what has arrived, and nothing between packets") {
  Framer framer(kMaxPacketSize);
  const std::string packet = publish(100'000);
  feed_part(framer, packet.substr(0, 1000));
  CHECK(framer.mid_packet());
  CHECK(framer.pending_type() == PacketType::publish);
  CHECK(framer.buffered() == 1000 - 4);
  feed_part(framer, packet.substr(1000, 1));
  CHECK(framer.buffered() == 1001 - 4);
  CHECK(feed_end(framer, packet.substr(1001)).body == packet.substr(4));
  CHECK(framer.buffered() == 0);
  CHECK_FALSE(framer.mid_packet());
  feed_part(framer, "");
  CHECK(framer.buffered() == 0);
}

TEST_CASE("framer: an empty input changes nothing") {
  Framer framer(1000);
  feed_part(framer, "");
  feed_part(framer, bytes("30"));
  feed_part(framer, "");
  feed_part(framer, bytes("03"));
  feed_part(framer, "");
  feed_part(framer, bytes("00"));
  feed_part(framer, "");
  CHECK(feed_end(framer, "ab").body == bytes("00 \"ab\""));
}

TEST_CASE("framer: remaining lengths around every boundary") {
  for (const uint32_t size : {0u, 1u, 127u, 128u, 16'383u, 16'384u, 2'097'151u, 2'097'152u}) {
    CAPTURE(size);
    const std::string packet = publish(size);
    Framer framer(kMaxPacketSize);
    CHECK(feed_end(framer, packet).body.size() == size);
  }
}

TEST_CASE("framer: the largest remaining length is announced and waited for") {
  Framer framer(kMaxPacketSize);
  feed_part(framer, bytes("30 ffffff7f 00*1000"));
  CHECK(framer.buffered() == 1000);
}

TEST_CASE("framer: the maximum packet size counts the fixed header") {
  for (const uint32_t size : {0u, 127u, 128u, 16'384u}) {
    CAPTURE(size);
    const std::string packet = publish(size);
    Framer enough(static_cast<uint32_t>(packet.size()));
    CHECK(feed_end(enough, packet).body.size() == size);
    Framer too_small(static_cast<uint32_t>(packet.size() - 1));
    CHECK(error_of(too_small, packet) == ReasonCode::packet_too_large);
  }
}

TEST_CASE("framer: a packet too large is refused at its fixed header") {
  Framer framer(1000);
  feed_part(framer, bytes("30 ffff"));
  CHECK(error_of(framer, bytes("01")) == ReasonCode::packet_too_large);
  CHECK(framer.buffered() == 0);
  CHECK_FALSE(framer.mid_packet());
}

TEST_CASE("framer: a new maximum holds from the next packet on") {
  Framer framer(1000);
  feed_part(framer, bytes("30 05 00"));
  framer.set_max_packet_size(4);
  CHECK(feed_end(framer, "abcd").body.size() == 5);
  CHECK(error_of(framer, bytes("30 05")) == ReasonCode::packet_too_large);
}

TEST_CASE("framer: malformed headers") {
  for (const char* header : {"00", "0f", "30 ffffffff", "30 80808080", "c0 ff808080"}) {
    CAPTURE(header);
    Framer framer(kMaxPacketSize);
    CHECK(error_of(framer, bytes(header)) == ReasonCode::malformed_packet);
  }
}

TEST_CASE("framer: an error is final") {
  Framer framer(1000);
  CHECK(error_of(framer, bytes("00")) == ReasonCode::malformed_packet);
  CHECK(error_of(framer, bytes("c0 00")) == ReasonCode::malformed_packet);
  CHECK(error_of(framer, "") == ReasonCode::malformed_packet);
}

TEST_CASE("framer: a large packet in pieces is assembled in the buffer given, and handed over") {
  int made = 0;
  const Framer::MakeBuffer make = [&](size_t size) {
    ++made;
    CHECK(size == 100'000);
    return std::make_unique<TestBuffer>();
  };
  Framer framer(kMaxPacketSize);
  framer.set_large_buffers(1000, &make);
  const std::string packet = publish(100'000);
  feed_part(framer, packet.substr(0, 10));
  CHECK(framer.take_buffer() == nullptr);
  for (size_t at = 10; at + 100 < packet.size(); at += 100) feed_part(framer, packet.substr(at, 100));
  const Frame frame = feed_end(framer, packet.substr(packet.size() - 94));
  CHECK(frame.body == packet.substr(4));
  const auto buffer = framer.take_buffer();
  REQUIRE(buffer != nullptr);
  CHECK(buffer->data() == frame.body.data());
  CHECK(buffer->capacity() == 100'000);
  CHECK(static_cast<TestBuffer&>(*buffer).grown < 14);
  CHECK(made == 1);
  feed_part(framer, "");
  CHECK(frame.body == packet.substr(4));
  CHECK(framer.take_buffer() == nullptr);
}

TEST_CASE("framer: a buffer not taken is released with the next call") {
  const Framer::MakeBuffer make = [](size_t) { return std::make_unique<TestBuffer>(); };
  Framer framer(kMaxPacketSize);
  framer.set_large_buffers(5, &make);
  feed_part(framer, bytes("30 05 01020304"));
  feed_end(framer, bytes("05"));
  feed_part(framer, "");
  CHECK(framer.take_buffer() == nullptr);
  feed_part(framer, bytes("30 04 01"));
  CHECK(feed_end(framer, bytes("020304")).body == bytes("01020304"));
  CHECK(framer.take_buffer() == nullptr);
}

TEST_CASE("framer: a large packet that is whole in the input needs no buffer") {
  const Framer::MakeBuffer make = [](size_t) -> std::unique_ptr<PacketBuffer> {
    FAIL("made a buffer");
    return nullptr;
  };
  Framer framer(kMaxPacketSize);
  framer.set_large_buffers(100, &make);
  const std::string packet = publish(5000);
  feed_end(framer, packet);
  feed_part(framer, packet.substr(0, 3));
}

TEST_CASE("framer: random streams, however cut, with and without large buffers") {
  const Framer::MakeBuffer make = [](size_t) { return std::make_unique<TestBuffer>(); };
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string stream;
    for (int i = 0; i < 20; ++i) stream += publish(random() % (i == 0 ? 20'000 : 300));
    if (round % 4 == 0) stream += bytes("30 ffffffff");
    const wire::Cut expected = wire::cut(stream, wire::whole());
    CHECK(expected.frames.size() == 20);
    Framer large(kMaxPacketSize);
    large.set_large_buffers(100, &make);
    CHECK(wire::cut(stream, wire::random_chunks(random, 1 + random() % 5000), std::move(large)) == expected);
  }
}
