// The parts of the benchmark that its figures rest on: packet scanner, encoder, histogram, command line, plans.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <stdexcept>

#include "tests/bench/broker.h"
#include "tests/bench/histogram.h"
#include "tests/bench/operation.h"
#include "tests/bench/options.h"
#include "tests/bench/wire.h"

using namespace bench;
using namespace std::string_literals;

TEST_CASE("wire: a packet is found only when it is whole") {
  const std::string packet = encode_publish("a/b", 200, 1, Protocol::kMqtt311).bytes;
  Frame frame;
  for (size_t size = 0; size < packet.size(); ++size) CHECK(next_frame(packet.substr(0, size), frame) == 0);
  CHECK(next_frame(packet + "more", frame) == packet.size());
  CHECK(frame.type() == PacketType::kPublish);
}

TEST_CASE("wire: a length of more than four bytes is refused") {
  Frame frame;
  CHECK_THROWS_AS(next_frame("\x30\xff\xff\xff\xff\x01", frame), std::runtime_error);
}

TEST_CASE("wire: what is published can be read back at every QoS and version") {
  for (const Protocol protocol : {Protocol::kMqtt311, Protocol::kMqtt5}) {
    for (const int qos : {0, 1, 2}) {
      PublishTemplate message = encode_publish("a/b", 64, qos, protocol);
      if (qos > 0) write_u16(message.bytes.data() + message.packet_id_at, 0x1234);
      write_stamp(message.bytes.data() + message.payload_at, {5, 6, 7});

      Frame frame;
      REQUIRE(next_frame(message.bytes, frame) == message.bytes.size());
      const auto publish = parse_publish(frame, protocol);
      REQUIRE(publish);
      CHECK(publish->qos == qos);
      CHECK(publish->packet_id == (qos > 0 ? 0x1234 : 0));
      CHECK(publish->topic == "a/b");
      CHECK(publish->payload.size() == 64);
      CHECK(read_stamp(publish->payload).sequence == 7);
    }
  }
}

TEST_CASE("wire: properties of an MQTT 5 PUBLISH are skipped") {
  const std::string whole = "\x30\x09\x00\x01t\x02\x01\x00hey"s;
  Frame frame;
  REQUIRE(next_frame(whole, frame) == whole.size());
  CHECK(parse_publish(frame, Protocol::kMqtt5)->payload == "hey");
}

TEST_CASE("wire: a PUBLISH cut short inside its frame is nothing") {
  for (const std::string& body : {""s, "\x00"s,
                                  "\x00\x05"s
                                  "abc",
                                  "\x00\x01t\x00"s}) {
    CHECK_FALSE(parse_publish(Frame{0x32, body}, Protocol::kMqtt311));
  }
}

TEST_CASE("wire: acknowledgements are as the specification has them") {
  std::string out;
  append_ack(out, PacketType::kPuback, 0x0102);
  append_ack(out, PacketType::kPubrel, 3);
  CHECK(out == "\x40\x02\x01\x02\x62\x02\x00\x03"s);
}

TEST_CASE("wire: CONNECT and SUBSCRIBE are as the specification has them") {
  CHECK(encode_connect("id", Protocol::kMqtt311) == "\x10\x0e\x00\x04MQTT\x04\x02\x01\x2c\x00\x02id"s);
  CHECK(encode_connect("id", Protocol::kMqtt5) == "\x10\x0f\x00\x04MQTT\x05\x02\x01\x2c\x00\x00\x02id"s);
  CHECK(encode_connect("id", Protocol::kMqtt311, true) == "\x10\x0e\x00\x04MQTT\x04\x00\x01\x2c\x00\x02id"s);
  CHECK(encode_connect("id", Protocol::kMqtt5, true) ==
        "\x10\x14\x00\x04MQTT\x05\x00\x01\x2c\x05\x11\x00\x00\x0e\x10\x00\x02id"s);
  CHECK(encode_subscribe(1, {"t"}, 2, Protocol::kMqtt311) == "\x82\x06\x00\x01\x00\x01t\x02"s);
  CHECK(encode_subscribe(1, {"t"}, 2, Protocol::kMqtt5) == "\x82\x07\x00\x01\x00\x00\x01t\x02"s);
}

TEST_CASE("histogram: a percentile is right to about three percent") {
  Histogram histogram;
  for (uint64_t i = 1; i <= 100'000; ++i) histogram.add(i);
  CHECK(histogram.percentile(0.5) == doctest::Approx(50'000).epsilon(0.035));
  CHECK(histogram.percentile(0.99) == doctest::Approx(99'000).epsilon(0.035));
  CHECK(histogram.max() == 100'000);
}

TEST_CASE("histogram: the least and the greatest value have a place") {
  Histogram histogram;
  histogram.add(0);
  histogram.add(UINT64_MAX);
  CHECK(histogram.percentile(0) == 0);
  CHECK(histogram.max() == UINT64_MAX);
  histogram.clear();
  CHECK(histogram.percentile(0.5) == 0);
}

TEST_CASE("options: what is given is taken, what is wrong is refused") {
  const Options options = parse_options({"--ops", "pairs,fan-out", "--workers", "1,2", "--quick", "--seconds", "2"});
  CHECK(options.operations == std::vector<std::string>{"pairs", "fan-out"});
  CHECK(options.workers == std::vector<int>{1, 2});
  CHECK(options.seconds == 2);
  CHECK(options.quick);
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"--qos", "3"}, {"--qos", ""}, {"--ops", "pair"}, {"--payload", "4"}, {"--pairs"}, {"--pears", "5"}}) {
    CHECK_THROWS_AS(parse_options(wrong), std::invalid_argument);
  }
}

TEST_CASE("operation: every one has a plan in which each filter list belongs to a subscriber") {
  Options options;
  options.pairs = 5;
  options.subscribers = 7;
  options.filters = 20;
  CHECK(make_plan("pairs", options).filters.size() == 5);
  CHECK(make_plan("fan-in", options).filters.size() == 1);
  CHECK(make_plan("fan-out", options).topics.size() == 1);
  CHECK(make_plan("fan-out", options).copies == 7);
  CHECK(make_plan("durable-fan-out", options).copies == 7);
  CHECK(make_plan("durable-fan-out", options).durable);
  CHECK_FALSE(make_plan("pairs", options).durable);
  CHECK(make_plan("hosts", options).filters.size() == 5);
  CHECK(make_plan("wildcard", options).filters[4].size() == 1 + 20 / 5);
}

TEST_CASE("operation: those between hosts are for the brokers that can be several hosts") {
  for (const std::string& operation : operation_names()) {
    CHECK(can_run({"mqtt-master"}, operation, 1));
    CHECK(can_run({"aedes"}, operation, 1) == is_between_hosts(operation));
    CHECK(can_run({"mosquitto"}, operation, 1) != is_between_hosts(operation));
  }
  CHECK(is_paced("hosts-paced"));
  CHECK_FALSE(is_paced("hosts"));
}
