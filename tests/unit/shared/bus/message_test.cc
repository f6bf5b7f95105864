#include "shared/bus/message.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

namespace bus {
namespace {

Message::Fields sample() {
  Message::Fields f;
  f.uid = {.incarnation = 7, .sequence = 9};
  f.qos = proto::QoS::exactly_once;
  f.retain = true;
  f.expires_at = 1000;
  f.topic = "a/b";
  f.publisher = "client";
  f.properties = std::string_view("\x01\x01", 2);
  f.payload = std::string_view("pay\0load", 8);
  return f;
}

}  // namespace

TEST_CASE("message: says what it was made of") {
  const MessageRef m = Message::make(sample());
  CHECK(m->uid() == Uid{7, 9});
  CHECK(m->qos() == proto::QoS::exactly_once);
  CHECK(m->retain());
  CHECK(m->topic() == "a/b");
  CHECK(m->publisher() == "client");
  CHECK(m->properties() == std::string_view("\x01\x01", 2));
  CHECK(m->payload() == std::string_view("pay\0load", 8));
  CHECK_FALSE(m->payload_buffer());
}

TEST_CASE("message: does not depend on the bytes it was made from") {
  Message::Fields f = sample();
  std::string topic = "a/topic/of/its/own";
  std::string payload(1000, 'p');
  f.topic = topic;
  f.payload = payload;
  const MessageRef m = Message::make(f);
  topic.assign(topic.size(), 'x');
  payload.assign(payload.size(), 'x');
  CHECK(m->topic() == "a/topic/of/its/own");
  CHECK(m->payload() == std::string(1000, 'p'));
}

TEST_CASE("message: every part may be empty") {
  Message::Fields f;
  const MessageRef m = Message::make(f);
  CHECK(m->topic().empty());
  CHECK(m->publisher().empty());
  CHECK(m->properties().empty());
  CHECK(m->payload().empty());
}

TEST_CASE("message: the longest topic and publisher") {
  const std::string longest(65'535, 't');
  Message::Fields f = sample();
  f.topic = longest;
  f.publisher = longest;
  const MessageRef m = Message::make(f);
  CHECK(m->topic() == longest);
  CHECK(m->publisher() == longest);
  CHECK(m->payload() == f.payload);
}

TEST_CASE("message: a payload in a buffer is referenced, and lives as long as the message") {
  Message::Fields f = sample();
  f.payload_buffer = base::SharedBuffer::heap(100);
  std::memcpy(f.payload_buffer->data(), "headpayload", 11);
  f.payload = {f.payload_buffer->data() + 4, 7};
  const char* place = f.payload.data();
  const MessageRef m = Message::make(f);
  f.payload_buffer = base::BufferRef();
  CHECK(m->payload_buffer());
  CHECK(m->payload().data() == place);
  CHECK(m->payload() == "payload");
  CHECK(m->topic() == "a/b");
}

TEST_CASE("message: expires at its time, or never") {
  Message::Fields f = sample();
  const MessageRef m = Message::make(f);
  CHECK_FALSE(m->expired(999));
  CHECK(m->expired(1000));
  f.expires_at = 0;
  CHECK_FALSE(Message::make(f)->expired(UINT64_MAX));
}

TEST_CASE("message: its footprint counts what it holds, also by reference") {
  Message::Fields f = sample();
  const size_t copied = Message::make(f)->footprint();
  f.payload_buffer = base::SharedBuffer::heap(8);
  std::memcpy(f.payload_buffer->data(), f.payload.data(), 8);
  f.payload = {f.payload_buffer->data(), 8};
  CHECK(Message::make(f)->footprint() == copied);
  f.topic = "a/b/c";
  CHECK(Message::make(f)->footprint() == copied + 2);
}

TEST_CASE("message: references share one message") {
  MessageRef a = Message::make(sample());
  const MessageRef b = a;
  CHECK(&*a == &*b);
  MessageRef c;
  CHECK_FALSE(c);
  c = std::move(a);
  CHECK_FALSE(a);  // NOLINT: says what a moved-from reference is
  c = b;
  CHECK(c->topic() == "a/b");
}

}  // namespace bus
