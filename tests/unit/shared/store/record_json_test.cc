#include "shared/store/record_json.h"

#include <doctest/doctest.h>

#include "shared/store/record_check.h"
#include "tests/support/records.h"

using namespace store;

namespace {

std::string error_of(std::string_view line) {
  try {
    record_from_json(line);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

std::string only_json(const support::Records& records) {
  REQUIRE(records.all().size() == 1);
  return *to_json(3, records.all().begin()->first, records.all().begin()->second);
}

}  // namespace

TEST_CASE("record_json: every kind of record there and back is the same bytes") {
  const support::Records records = support::one_of_each();
  for (const auto& [key, value] : records.all()) {
    INFO(describe_key(key));
    CHECK(problem_of(key, value) == "");
    const auto line = to_json(3, key, value);
    REQUIRE(line.has_value());
    CHECK(line->find('\n') == std::string::npos);
    const ImportedRecord back = record_from_json(*line);
    CHECK(back.slot == 3);
    CHECK(back.key == key);
    CHECK(back.value == value);
  }
}

TEST_CASE("record_json: a will with everything") {
  SessionRecord session;
  session.client_id = "c";
  session.will =
      WillRecord{"w/t", std::string("\0b", 2), std::string("\x01\x01", 2), proto::QoS::exactly_once, true, 5, 6};
  std::string key;
  std::string value;
  session_key(key, 1);
  encode(value, session);
  CHECK(record_from_json(*to_json(0, key, value)).value == value);
}

TEST_CASE("record_json: what a line looks like") {
  support::Records subscription;
  subscription.subscription(7, "a/+", {proto::QoS::at_least_once});
  CHECK(only_json(subscription) ==
        R"({"slot":3,"record":"subscription","sid":7,"filter":"a/+","qos":1,"no_local":false,)"
        R"("retain_as_published":false,"retain_handling":0,"identifier":0})");
  support::Records retained;
  retained.retained({.topic = "r", .payload = "hi", .incarnation = 4, .sequence = 5, .retain = true});
  CHECK(only_json(retained) ==
        R"({"slot":3,"record":"retained","topic":"r","message":{"incarnation":4,"sequence":5,"qos":1,"retain":true,)"
        R"("expires_at":0,"topic":"r","publisher":"publisher","properties":"","payload":"aGk="}})");
  support::Records versioned;
  versioned.retained({.topic = "r", .payload = "hi"}, 7, true);
  CHECK(only_json(versioned).starts_with(
      R"({"slot":3,"record":"retained","topic":"r","version":7,"unconfirmed":true,"message":{)"));
}

TEST_CASE("record_json: a text that is not UTF-8 is kept") {
  std::string key;
  std::string value;
  subscription_key(key, 1, "\xFF");
  encode(value, SubscriptionRecord{});
  const std::string line = *to_json(0, key, value);
  CHECK(line.find(R"("filter":{"base64":"/w=="})") != std::string::npos);
  CHECK(record_from_json(line).key == key);
}

TEST_CASE("record_json: of meta only the time goes along") {
  const std::string at("\1\0\0\0\0\0\0\0", 8);
  CHECK(*to_json(0, "Malive", at) == R"({"slot":0,"record":"alive","at":1})");
  CHECK(record_from_json(R"({"slot":0,"record":"alive","at":1})").key == "Malive");
  CHECK(record_from_json(R"({"slot":0,"record":"alive","at":1})").value == at);
  CHECK_FALSE(to_json(0, "Mformat", std::string("\1\0\0\0", 4)).has_value());
}

TEST_CASE("record_json: lines that are none") {
  CHECK(error_of("") != "none");
  CHECK(error_of("[]") != "none");
  CHECK(error_of("{}") != "none");
  CHECK(error_of(R"({"slot":0,"record":"meta"})") == R"(found a record "meta"; expected one of this format)");
  CHECK(error_of(R"({"slot":-1,"record":"incoming","sid":1,"packet_id":1,"number":0})") ==
        "found -1; expected a whole number from 0 to 4294967295");
  CHECK(error_of(R"({"slot":0,"record":"incoming","sid":1,"packet_id":65536,"number":0})") ==
        "found 65536; expected a whole number from 0 to 65535");
  CHECK(error_of(R"({"slot":0,"record":"incoming","sid":1,"number":0})") != "none");
  CHECK(error_of(R"({"slot":0,"record":"progress","sid":1,"position":1,"progress":"gone","packet_id":1})") != "none");
}

TEST_CASE("record_json: the first line") {
  CHECK(to_json(ExportHeader{2}) == R"({"mqtt-master":"store","format":2,"slots":2})");
  CHECK(header_from_json(to_json(ExportHeader{2})).slots == 2);
  const auto refused = [](std::string_view line) { CHECK_THROWS_AS(header_from_json(line), std::exception); };
  refused("");
  refused("[]");
  CHECK(header_from_json(R"({"mqtt-master":"store","format":1,"slots":2})").slots == 2);  // an older one
  refused(R"({"mqtt-master":"store","format":0,"slots":2})");
  refused(R"({"mqtt-master":"store","format":3,"slots":2})");
  refused(R"({"mqtt-master":"store","format":1,"slots":0})");
  refused(R"({"mqtt-master":"store","format":1})");
  refused(R"({"slot":0,"record":"incoming"})");
}
