// The bytes of a store: a change here needs a new kFormatVersion.
#include "shared/store/record.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "shared/base/random.h"

using namespace store;
using namespace std::literals;

namespace {

constexpr Now kNow{1000, 5'000'000};

bus::Message::Fields fields() {
  bus::Message::Fields f;
  f.uid = {0x11, 0x12};
  f.once = {0x0102030405060708, 9};
  f.qos = proto::QoS::exactly_once;
  f.retain = true;
  f.expires_at = kNow.mono + 0x20;
  f.topic = "a/b";
  f.publisher = "me";
  f.properties = std::string_view("\x01\x01", 2);
  f.payload = "hi";
  return f;
}

const std::string kMessage =
    "\x08\x07\x06\x05\x04\x03\x02\x01"  // incarnation, of the identity
    "\x09\x00\x00\x00\x00\x00\x00\x00"  // sequence
    "\x60\x4B\x4C\x00\x00\x00\x00\x00"  // expires at 5000032
    "\x02\x00\x00\x00"                  // payload
    "\x02\x00\x00\x00"                  // properties
    "\x03\x00\x02\x00"                  // topic, publisher
    "\x06"                              // QoS 2, retain
    "a/b"
    "me"
    "\x01\x01"
    "hi"s;

SessionRecord session() {
  SessionRecord s;
  s.client_id = "me";
  s.epoch = 0x0A;
  s.expiry_interval = 0xFFFFFFFF;
  s.disconnected_at = 0x0B;
  s.next_packet_id = 0x0C;
  s.will = WillRecord{"w/t", "bye", "\x01\x01"s, proto::QoS::at_least_once, true, 0x0D, 0x0E};
  s.marks = {{1, 2, 3, 4}};
  return s;
}

const std::string kSession =
    "\x0A\x00\x00\x00\x00\x00\x00\x00"  // epoch
    "\xFF\xFF\xFF\xFF"                  // expiry interval
    "\x0B\x00\x00\x00\x00\x00\x00\x00"  // disconnected at
    "\x0C\x00"                          // next packet id
    "\x01"                              // with a will
    "\x02\x00me"
    "\x0D"              // QoS 1, retain, message expiry
    "\x0D\x00\x00\x00"  // delay
    "\x0E\x00\x00\x00"  // message expiry
    "\x03\x00w/t"       // topic
    "\x02\x00\x00\x00"  // properties
    "\x03\x00\x00\x00"  // payload
    "\x01\x01"          // properties
    "bye"               // payload
    "\x01\x00\x00\x00"  // one mark
    "\x01\x00\x00\x00"  // slot
    "\x02\x00\x00\x00\x00\x00\x00\x00"
    "\x03"
    "\x04\x00\x00\x00\x00\x00\x00\x00"s;

const std::string kDeliveryHead =
    "\x01\x05\x00"      // sent with packet id 5
    "\x0D"              // QoS 1, retain, shared
    "\x02\x00\x00\x00"  // two subscription identifiers
    "\x07\x00\x00\x00"
    "\x08\x00\x00\x00"
    "\x01\x00g"
    "\x03\x00"
    "a/#"s;

std::string encoded_delivery() {
  std::string out;
  const uint32_t ids[] = {7, 8};
  encode_delivery(out, {Progress::sent, 5}, proto::QoS::at_least_once, true, ids, 2, true, "g", "a/#",
                  *bus::Message::make(fields()), kNow);
  return out;
}

std::string encoded_pending(Purpose purpose) {
  std::string out;
  encode_pending(out, purpose, "g", "a/#", *bus::Message::make(fields()), kNow,
                 purpose == Purpose::shared_far ? "x.1" : "");
  return out;
}

std::string encoded_unsure() {
  std::string out;
  encode_unsure(out, 0x0102, *bus::Message::make(fields()), kNow);
  return out;
}

template <typename Record>
std::string encoded(const Record& record) {
  std::string out = "cleared";
  encode(out, record);
  return out;
}

template <typename Record>
bool decodes(std::string_view value) {
  Record record;
  return decode(value, record);
}

bool message_decodes(std::string_view value) {
  return static_cast<bool>(read_message(value, kNow));
}
bool delivery_decodes(std::string_view value) {
  DeliveryRecord delivery;
  return decode(value, delivery, kNow);
}
bool pending_decodes(std::string_view value) {
  PendingRecord pending;
  return decode(value, pending, kNow);
}
bool number_decodes(std::string_view value) {
  uint64_t number = 0;
  return decode_number(value, number);
}
bool version_decodes(std::string_view value) {
  uint32_t version = 0;
  return decode_version(value, version);
}

// Every kind of value with its decoder and bytes that it accepts.
struct Sample {
  const char* name;
  std::function<bool(std::string_view)> decodes;
  std::string bytes;
};

std::vector<Sample> samples() {
  return {{"layout", decodes<Layout>, encoded(Layout{1, 2})},
          {"session", decodes<SessionRecord>, encoded(session())},
          {"subscription", decodes<SubscriptionRecord>, encoded(SubscriptionRecord{})},
          {"progress", decodes<ProgressRecord>, encoded(ProgressRecord{})},
          {"message", message_decodes, kMessage},
          {"delivery", delivery_decodes, encoded_delivery()},
          {"pending", pending_decodes, encoded_pending(Purpose::publish)},
          {"pending for a group", pending_decodes, encoded_pending(Purpose::shared)},
          {"pending until a life is known", pending_decodes, encoded_unsure()},
          {"pending for another host", pending_decodes, encoded_pending(Purpose::shared_far)},
          {"number", number_decodes, std::string(8, '\1')},
          {"version", version_decodes, std::string(4, '\1')}};
}

// Every key, and how to write it.
struct KeySample {
  std::string_view bytes;
  std::function<void(std::string&)> write;
};

std::vector<KeySample> key_samples() {
  return {
      {"Mformat"sv, [](std::string& out) { meta_key(out, "format"); }},
      {"S\x01\x02\x03\x04\x05\x06\x07\x08"sv, [](std::string& out) { session_key(out, 0x0102030405060708); }},
      {"B\x00\x00\x00\x00\x00\x00\x00\x09\x00"
       "a/+"sv,
       [](std::string& out) { subscription_key(out, 9, "a/+"); }},
      {"B\x00\x00\x00\x00\x00\x00\x00\x09\x01\x00\x02gga/+"sv,
       [](std::string& out) { share_key(out, 9, "gg", "a/+"); }},
      {"Q\x00\x00\x00\x00\x00\x00\x00\x09\x01\x02\x03\x04\x05\x06\x07\x08"sv,
       [](std::string& out) { delivery_key(out, 9, 0x0102030405060708); }},
      {"I\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x01"sv,
       [](std::string& out) { progress_key(out, 9, 1); }},
      {"R\x00\x00\x00\x00\x00\x00\x00\x09\x12\x34"sv, [](std::string& out) { incoming_key(out, 9, 0x1234); }},
      {"P\x00\x00\x00\x00\x00\x00\x01\x00"sv, [](std::string& out) { accepted_key(out, 256); }},
      {"O\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x01\x00"sv, [](std::string& out) { outbox_key(out, 3, 256); }},
      {"Ta/b"sv, [](std::string& out) { retained_key(out, "a/b"); }},
      {"K\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x01\x00\x02"sv, [](std::string& out) { seen_key(out, 3, 256, 2); }},
  };
}

}  // namespace

// --- keys ---

TEST_CASE("record: the bytes of every key") {
  for (const KeySample& sample : key_samples()) {
    std::string out = "cleared";
    sample.write(out);
    CHECK(out == sample.bytes);
  }
}

TEST_CASE("record: keys are taken apart") {
  CHECK(parse_key("Mformat")->text == "format");
  CHECK(parse_key("S\x01\x02\x03\x04\x05\x06\x07\x08")->sid == 0x0102030405060708);
  const auto plain = parse_key("B\0\0\0\0\0\0\0\x09\0a/+"sv);
  CHECK(plain->sid == 9);
  CHECK_FALSE(plain->shared);
  CHECK(plain->text == "a/+");
  const auto shared = parse_key("B\0\0\0\0\0\0\0\x09\1\0\x02gga/+"sv);
  CHECK(shared->shared);
  CHECK(shared->group == "gg");
  CHECK(shared->text == "a/+");
  CHECK(parse_key("Q\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\1\0"sv)->number == 256);
  CHECK(parse_key("R\0\0\0\0\0\0\0\x09\x12\x34"sv)->number == 0x1234);
  CHECK(parse_key("O\0\0\0\3\0\0\0\0\0\0\1\0"sv)->slot == 3);
  const auto seen = parse_key("K\0\0\0\3\0\0\0\0\0\0\1\0\x02"sv);
  CHECK(seen->slot == 3);
  CHECK(seen->incarnation == 256);
  CHECK(seen->seen == 2);
}

TEST_CASE("record: keys sort as their numbers do") {
  std::string low;
  std::string high;
  delivery_key(low, 1, 255);
  delivery_key(high, 1, 256);
  CHECK(low < high);
  delivery_key(low, 255, 9);
  delivery_key(high, 256, 1);
  CHECK(low < high);
}

TEST_CASE("record: what is no key") {
  for (const std::string_view bytes : {""sv,
                                       "X"sv,
                                       "m"sv,
                                       "M"sv,
                                       "T"sv,
                                       "S1234567"sv,
                                       "S123456789"sv,
                                       "B"sv,
                                       "B12345678"sv,
                                       "B12345678\0"sv,
                                       "B12345678\2a"sv,
                                       "B12345678\1"sv,
                                       "B12345678\1\0\2gg"sv,
                                       "B12345678\1\0\3gga"sv,
                                       "B12345678\1\xFF\xFFg/a"sv,
                                       "Q12345678"sv,
                                       "Q12345678123456789"sv,
                                       "R123456781"sv,
                                       "P1234567"sv,
                                       "O12341234567"sv,
                                       "K1234123456"sv,
                                       "K12341234567812"sv}) {
    INFO(bytes);
    CHECK_FALSE(parse_key(bytes).has_value());
  }
}

TEST_CASE("record: every truncation of a key that ends in a number is refused") {
  for (const KeySample& sample : key_samples()) {
    const bool ends_in_text = std::string("MBT").find(sample.bytes[0]) != std::string::npos;
    for (size_t size = 0; size < sample.bytes.size(); ++size) {
      const auto key = parse_key(sample.bytes.substr(0, size));
      CHECK((ends_in_text || !key));
    }
  }
}

// --- values ---

TEST_CASE("record: the bytes of the small values") {
  CHECK(encoded(Layout{1, 2}) == "\x01\0\0\0\x02\0\0\0"s);
  CHECK(encoded(ProgressRecord{Progress::released, 0x0102}) == "\x02\x02\x01"s);
  CHECK(encoded(SubscriptionRecord{}) == "\0\0\0\0\0"s);
  CHECK(encoded(SubscriptionRecord{proto::QoS::exactly_once, true, true, proto::RetainHandling::do_not_send, 3}) ==
        "\x2E\x03\0\0\0"s);
  CHECK(encoded(SubscriptionRecord{proto::QoS::at_least_once, false, true, proto::RetainHandling::send_if_new, 0}) ==
        "\x19\0\0\0\0"s);
  std::string out;
  encode_number(out, 0x0102030405060708);
  CHECK(out == "\x08\x07\x06\x05\x04\x03\x02\x01");
  encode_version(out, kFormatVersion);
  CHECK(out == "\x02\0\0\0"s);
}

TEST_CASE("record: the bytes of a session") {
  CHECK(encoded(session()) == kSession);
  SessionRecord plain;
  plain.client_id = "c";
  CHECK(encoded(plain) == std::string(20, '\0') + "\x01\0\0\x01\0c\0\0\0\0"s);
}

TEST_CASE("record: the bytes of messages, deliveries and what is pending") {
  std::string out;
  append_message(out, *bus::Message::make(fields()), kNow);
  CHECK(out == kMessage);
  CHECK(encoded_delivery() == kDeliveryHead + kMessage);
  CHECK(encoded_pending(Purpose::publish) == "\0"s + kMessage);
  CHECK(encoded_pending(Purpose::retain) == "\1"s + kMessage);
  CHECK(encoded_pending(Purpose::publish_placed) == "\3"s + kMessage);
  CHECK(encoded_pending(Purpose::shared) == "\2\1\0g\3\0a/#"s + kMessage);
  CHECK(encoded_pending(Purpose::shared_far) == "\4\1\0g\3\0a/#\3\0x.1"s + kMessage);
  CHECK(encoded_unsure() == "\5\2\1\0\0\0\0\0\0"s + kMessage);
}

TEST_CASE("record: what was encoded is decoded") {
  SessionRecord s;
  REQUIRE(decode(kSession, s));
  CHECK(s.client_id == "me");
  CHECK(s.expiry_interval == 0xFFFFFFFF);
  CHECK(s.disconnected_at == 0x0B);
  CHECK(s.will->payload == "bye");
  CHECK(s.will->message_expiry == 0x0E);
  CHECK(s.will->delay == 0x0D);
  CHECK(s.marks == session().marks);
  CHECK(encoded(s) == kSession);

  DeliveryRecord d;
  REQUIRE(decode(encoded_delivery(), d, kNow));
  CHECK(d.progress == ProgressRecord{Progress::sent, 5});
  CHECK(d.qos == proto::QoS::at_least_once);
  CHECK(d.retain);
  CHECK(d.ids == std::vector<uint32_t>{7, 8});
  CHECK(d.shared);
  CHECK(d.group == "g");
  CHECK(d.filter == "a/#");
  CHECK(d.message->payload() == "hi");

  PendingRecord p;
  REQUIRE(decode(encoded_pending(Purpose::shared), p, kNow));
  CHECK(p.purpose == Purpose::shared);
  CHECK(p.filter == "a/#");
  CHECK(p.message->topic() == "a/b");
}

TEST_CASE("record: a message that was read has the stored identity") {
  const bus::MessageRef message = read_message(kMessage, kNow);
  REQUIRE(message);
  CHECK(message->uid() == bus::Uid{0x0102030405060708, 9});
  CHECK(message->once() == message->uid());
  CHECK(message->qos() == proto::QoS::exactly_once);
  CHECK(message->retain());
  CHECK(message->publisher() == "me");
  CHECK(message->properties() == std::string_view("\x01\x01", 2));
}

TEST_CASE("record: a retained message has its version behind it") {
  RetainedRecord r;
  r.message = bus::Message::make(fields());
  std::string out;
  encode(out, r, kNow);
  CHECK(out == kMessage);  // as in format 1
  RetainedRecord back;
  CHECK(decode(out, back, kNow));
  CHECK(back.version == 0);
  CHECK_FALSE(back.unconfirmed);
  r.version = 0x0A;
  encode(out, r, kNow);
  CHECK(out == kMessage + "\x0A\0\0\0\0\0\0\0\0"s);
  r.unconfirmed = true;
  encode(out, r, kNow);
  CHECK(out == kMessage + "\x0A\0\0\0\0\0\0\0\x01"s);
  CHECK(decode(out, back, kNow));
  CHECK(back.version == 0x0A);
  CHECK(back.unconfirmed);
  CHECK(back.message->payload() == "hi");
  for (size_t size = 0; size < out.size(); ++size) {
    CHECK(decode(out.substr(0, size), back, kNow) == (size == kMessage.size()));
  }
  CHECK_FALSE(decode(out + '\0', back, kNow));
  CHECK_FALSE(decode(kMessage + std::string(9, '\0'), back, kNow));       // no version
  CHECK_FALSE(decode(kMessage + "\x0A\0\0\0\0\0\0\0\x02"s, back, kNow));  // no such flag
}

TEST_CASE("record: an expiry is kept as a wall-clock time") {
  const auto stored_at = [](base::MonoMs expires_at, Now now) {
    bus::Message::Fields f = fields();
    f.expires_at = expires_at;
    std::string out;
    append_message(out, *bus::Message::make(f), now);
    return out;
  };
  CHECK(read_message(kMessage, {70, 5'000'000})->expires_at() == 70 + 0x20);  // another process's clock
  CHECK(read_message(kMessage, {70, 5'000'031})->expires_at() == 71);
  CHECK(read_message(kMessage, {70, 5'000'032})->expires_at() == 1);
  CHECK(read_message(stored_at(0, kNow), kNow)->expires_at() == 0);
  CHECK(read_message(stored_at(1, kNow), kNow)->expires_at() == 1);
  CHECK(read_message(stored_at(UINT64_MAX, kNow), kNow)->expires_at() > kNow.mono);
}

TEST_CASE("record: every truncation and every longer value is refused") {
  for (const Sample& sample : samples()) {
    INFO(sample.name);
    CHECK(sample.decodes(sample.bytes));
    CHECK_FALSE(sample.decodes(sample.bytes + '\0'));
    for (size_t size = 0; size < sample.bytes.size(); ++size) {
      // A copy of its own, so that a byte read past the end shows.
      const std::string part = sample.bytes.substr(0, size);
      CHECK_FALSE(sample.decodes(part));
    }
  }
}

TEST_CASE("record: values nobody writes are refused") {
  const auto with = [](std::string_view bytes, size_t at, char value) {
    REQUIRE(at < bytes.size());
    std::string changed(bytes);
    changed[at] = value;
    return changed;
  };
  CHECK_FALSE(message_decodes(with(kMessage, 36, 3)));               // QoS 3
  CHECK_FALSE(message_decodes(with(kMessage, 36, 8)));               // an unknown flag
  CHECK_FALSE(message_decodes(with(kMessage, 23, '\x7F')));          // expires after the end of time
  CHECK_FALSE(decodes<SessionRecord>(with(kSession, 22, 2)));        // an unknown flag
  CHECK_FALSE(decodes<SessionRecord>(with(kSession, 27, 0x1D)));     // of the will
  CHECK_FALSE(decodes<ProgressRecord>("\3\0\0"s));                   // no such progress
  CHECK_FALSE(decodes<SubscriptionRecord>("\3\0\0\0\0"s));           // QoS 3
  CHECK_FALSE(decodes<SubscriptionRecord>("\x30\0\0\0\0"s));         // no such retain handling
  CHECK_FALSE(pending_decodes("\4"s + kMessage));                    // no such purpose
  CHECK_FALSE(delivery_decodes(with(encoded_delivery(), 3, 0x1D)));  // an unknown flag
  const std::string many_marks = kSession.substr(0, kSession.size() - 25) + "\xFF\xFF\xFF\xFF";
  CHECK_FALSE(decodes<SessionRecord>(many_marks));
  CHECK_FALSE(delivery_decodes(with(encoded_delivery(), 7, '\xFF')));
}

TEST_CASE("record: random bytes do not crash a decoder") {
  const uint64_t seed = base::entropy();
  INFO("seed " << seed);
  base::Random random(seed);
  const std::vector<Sample> kinds = samples();
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(random.below(80), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.below(256));
    parse_key(bytes);
    for (const Sample& kind : kinds) kind.decodes(bytes);
  }
}

TEST_CASE("record: a damaged value decodes to one that encodes to the same bytes, or not at all") {
  const uint64_t seed = base::entropy();
  INFO("seed " << seed);
  base::Random random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = kSession;
    bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    SessionRecord record;
    if (decode(bytes, record)) CHECK(encoded(record) == bytes);
  }
}

TEST_CASE("records: the life of a host") {
  std::string value;
  store::encode(value, store::LifeRecord{0x0102, 0x0a0b, "a.1"});
  CHECK(value == std::string("\x02\x01\0\0\0\0\0\0\x0b\x0a\0\0\0\0\0\0"
                             "a.1",
                             19));
  store::LifeRecord life;
  REQUIRE(store::decode(value, life));
  CHECK(life.cluster == 0x0102);
  CHECK(life.copied_us == 0x0a0b);
  CHECK(life.key == "a.1");
  CHECK_FALSE(store::decode(value.substr(0, 16), life));
}
