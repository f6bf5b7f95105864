// The bytes that workers exchange: a change here needs a new kBusVersion.
#include "shared/bus/message_codec.h"

#include <doctest/doctest.h>

#include <string>

#include "shared/base/byte_chain.h"

namespace bus {
namespace {

std::string written(Link& link) {
  REQUIRE(link.connected(0));
  iovec iov[16];
  int fd = -1;
  const int count = link.gather(iov, 16, fd);
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(iov[i].iov_base), iov[i].iov_len);
  return bytes;
}

Message::Fields fields() {
  Message::Fields f;
  f.uid = {0x0102030405060708, 9};
  f.qos = proto::QoS::exactly_once;
  f.retain = true;
  f.expires_at = 0x0A;
  f.topic = "a/b";
  f.publisher = "me";
  f.properties = std::string_view("\x01\x01", 2);
  f.payload = "hi";
  return f;
}

}  // namespace

TEST_CASE("message_codec: the bytes of a frame with a message") {
  base::ChunkPool pool;
  Link link(pool);
  append_message_frame(link, FrameType::state_delivery, kAckSoon, "P", *Message::make(fields()));
  const std::string expected(
      "\x34\x00\x00\x00"                  // body: 1 + 42 + 3 + 2 + 2 + 2 bytes
      "\x0F\x01\x00\x00"                  // state_delivery, acknowledge soon, no attachment
      "P"                                 // prefix
      "\x08\x07\x06\x05\x04\x03\x02\x01"  // incarnation
      "\x09\x00\x00\x00\x00\x00\x00\x00"  // sequence
      "\x0A\x00\x00\x00\x00\x00\x00\x00"  // expires at
      "\x02\x00\x00\x00"                  // payload
      "\x02\x00\x00\x00"                  // properties
      "\x00\x00\x00\x00"                  // offset in the attachment
      "\x03\x00\x02\x00"                  // topic, publisher
      "\x02\x01"                          // QoS 2, retain
      "a/b"
      "me"
      "\x01\x01"
      "hi",
      60);
  CHECK(written(link) == expected);
}

TEST_CASE("message_codec: a message comes back as it was, and shorter bytes are refused") {
  base::ChunkPool pool;
  Link link(pool);
  append_message_frame(link, FrameType::state_delivery, 0, "", *Message::make(fields()));
  const std::string body = written(link).substr(Link::kHeaderSize);
  Reader whole(body);
  const MessageRef message = read_message(whole, {});
  REQUIRE(message);
  CHECK(message->uid() == Uid{0x0102030405060708, 9});
  CHECK(message->qos() == proto::QoS::exactly_once);
  CHECK(message->retain());
  CHECK(message->topic() == "a/b");
  CHECK(message->publisher() == "me");
  CHECK(message->payload() == "hi");
  for (size_t size = 0; size < body.size(); ++size) {
    Reader cut(std::string_view(body).substr(0, size));
    CHECK_FALSE(read_message(cut, {}));
  }
}

TEST_CASE("message_codec: a message that is routed again keeps its first identity") {
  Message::Fields f = fields();
  base::ChunkPool pool;
  Link link(pool);
  f.once = {7, 9};
  append_message_frame(link, FrameType::state_delivery, 0, "", *Message::make(f));
  const std::string body = written(link).substr(Link::kHeaderSize);
  Reader reader(body);
  const MessageRef again = read_message(reader, base::BufferRef());
  REQUIRE(again);
  CHECK(again->once() == Uid{7, 9});
  CHECK(again->uid() == f.uid);
  CHECK(again->topic() == f.topic);
  CHECK(Message::make(fields())->once() == fields().uid);
}

TEST_CASE("frames: the numbers of the frame types") {
  CHECK(static_cast<int>(FrameType::ack) == 0);
  CHECK(static_cast<int>(FrameType::publish) == 2);
  CHECK(static_cast<int>(FrameType::route) == 5);
  CHECK(static_cast<int>(FrameType::claim) == 7);
  CHECK(static_cast<int>(FrameType::state_begin) == 14);
  CHECK(static_cast<int>(FrameType::cut_request) == 17);
  CHECK(static_cast<int>(FrameType::freeze) == 20);
  CHECK(static_cast<int>(FrameType::stale) == 21);
  CHECK(static_cast<int>(FrameType::stored) == 22);
  CHECK(static_cast<int>(FrameType::retain_set) == 23);
  CHECK(static_cast<int>(FrameType::departed) == 29);
  CHECK(static_cast<int>(FrameType::recovered) == 30);
}

TEST_CASE("frames: writer and reader, little endian, and what is missing is noticed") {
  std::string out;
  Writer(out).put<uint16_t>(0x0102).text("xy").put<uint8_t>(7);
  CHECK(out == std::string("\x02\x01\x02\x00xy\x07", 7));
  Reader reader(out);
  CHECK(reader.get<uint16_t>() == 0x0102);
  CHECK(reader.text() == "xy");
  CHECK(reader.get<uint8_t>() == 7);
  CHECK(reader.at_end());
  CHECK(reader.get<uint32_t>() == 0);
  CHECK_FALSE(reader.ok());
}

}  // namespace bus
