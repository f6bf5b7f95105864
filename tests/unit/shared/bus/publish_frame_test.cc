// The bytes of a `publish` frame: a change here needs a new kBusVersion.
#include "shared/bus/publish_frame.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "shared/base/byte_chain.h"
#include "shared/bus/message_codec.h"

namespace bus {
namespace {

constexpr uint64_t kSender = 0x0102030405060708;

struct Stream {
  base::ChunkPool pool;
  Link link{pool};

  std::string frame(const Message::Fields& message, uint8_t flags = 0) {
    append_publish_frame(link, flags, message, kSender);
    REQUIRE(link.connected(0));
    iovec iov[16];
    int fd = -1;
    const int count = link.gather(iov, 16, fd);
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(iov[i].iov_base), iov[i].iov_len);
    return bytes;
  }
};

std::string body_of(const Message::Fields& message) {
  return Stream().frame(message).substr(Link::kHeaderSize);
}

Message::Fields plain() {
  Message::Fields f;
  f.uid = {kSender, 9};
  f.qos = proto::QoS::at_least_once;
  f.topic = "a/b";
  f.publisher = "me";
  f.payload = "hi";
  return f;
}

Message::Fields full() {
  Message::Fields f = plain();
  f.uid.incarnation = 5;
  f.once = {7, 8};
  f.qos = proto::QoS::exactly_once;
  f.retain = true;
  f.expires_at = 0x0A;
  f.properties = std::string_view("\x01\x01", 2);
  return f;
}

void check_equal(const Message::Fields& a, const Message::Fields& b) {
  CHECK(a.uid == b.uid);
  CHECK(a.identity() == b.identity());
  CHECK(a.qos == b.qos);
  CHECK(a.retain == b.retain);
  CHECK(a.expires_at == b.expires_at);
  CHECK(a.topic == b.topic);
  CHECK(a.publisher == b.publisher);
  CHECK(a.properties == b.properties);
  CHECK(a.payload == b.payload);
}

}  // namespace

TEST_CASE("publish_frame: the bytes of a message of the sender's") {
  const std::string expected(
      "\x14\x00\x00\x00"                  // body: 13 + 3 + 2 + 2 bytes
      "\x02\x02\x00\x00"                  // publish, wants `stored`, no attachment
      "\x01\x03\x00\x02\x00"              // QoS 1, topic, publisher
      "\x09\x00\x00\x00\x00\x00\x00\x00"  // sequence
      "a/b"
      "me"
      "hi",
      28);
  CHECK(Stream().frame(plain(), kWantStored) == expected);
}

TEST_CASE("publish_frame: the bytes of a message that has everything") {
  const std::string expected(
      "\xF6\x03\x00\x02\x00"              // QoS 2, retain, foreign, once, expires, properties
      "\x09\x00\x00\x00\x00\x00\x00\x00"  // sequence
      "\x05\x00\x00\x00\x00\x00\x00\x00"  // incarnation
      "\x07\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00"  // once
      "\x0A\x00\x00\x00\x00\x00\x00\x00"                                  // expires at
      "\x02\x00\x00\x00"                                                  // properties
      "a/b"
      "me"
      "\x01\x01"
      "hi",
      58);
  CHECK(body_of(full()) == expected);
}

TEST_CASE("publish_frame: a message comes back as it was, and shorter heads are refused") {
  for (const Message::Fields& message : {plain(), full()}) {
    const std::string body = body_of(message);
    Message::Fields again;
    REQUIRE(read_publish(body, {}, kSender, again));
    check_equal(again, message);
    for (size_t size = 0; size + message.payload.size() < body.size(); ++size) {
      Message::Fields cut;
      CHECK_FALSE(read_publish(std::string_view(body).substr(0, size), {}, kSender, cut));
    }
  }
}

TEST_CASE("publish_frame: QoS 3 is refused") {
  std::string body = body_of(plain());
  body[0] = 3;
  Message::Fields out;
  CHECK_FALSE(read_publish(body, {}, kSender, out));
}

TEST_CASE("publish_frame: a large payload goes as an attachment, which must be there and long enough") {
  base::BufferRef buffer = base::SharedBuffer::heap(kAttachAt + 8);
  std::memset(buffer->data(), 'x', buffer->capacity());
  Message::Fields message = plain();
  message.payload = {buffer->data() + 8, kAttachAt};
  message.payload_buffer = buffer;
  const std::string whole = Stream().frame(message);
  REQUIRE(whole.size() == Link::kHeaderSize + 8 + 13 + 8 + 5);  // in front of the body: the attachment's size
  const std::string_view body = std::string_view(whole).substr(Link::kHeaderSize + 8);

  Message::Fields again;
  REQUIRE(read_publish(body, buffer, kSender, again));
  CHECK(again.payload.data() == message.payload.data());
  check_equal(again, message);
  CHECK_FALSE(read_publish(body, {}, kSender, again));
  CHECK_FALSE(read_publish(body, base::SharedBuffer::heap(kAttachAt), kSender, again));
  CHECK_FALSE(read_publish(std::string(body) + "x", buffer, kSender, again));
}

}  // namespace bus
