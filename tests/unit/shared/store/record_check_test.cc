#include "shared/store/record_check.h"

#include <doctest/doctest.h>

#include "tests/support/records.h"

using namespace store;

namespace {

// What a check of these records reports.
std::vector<std::string> problems(const support::Records& records, Layout layout = {0, 1}) {
  std::vector<std::string> found;
  StoreCheck check(layout,
                   [&](const std::string& key, const std::string& problem) { found.push_back(key + ": " + problem); });
  for (const auto& [key, value] : records.all()) check.session(key, value);
  for (const auto& [key, value] : records.all()) check.record(key, value);
  check.finish();
  return found;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("record_check: one of every kind is fine") {
  CHECK(problems(support::one_of_each()) == Lines{});
}

TEST_CASE("record_check: what belongs to no session") {
  support::Records r;
  r.subscription(1, "a");
  r.delivery(2, 1, {});
  r.incoming(3, 1);
  CHECK(problems(r) == Lines{"subscription sid=1 filter=a: there is no such session",
                             "delivery sid=2 position=1: there is no such session",
                             "incoming sid=3 packet_id=1: there is no such session"});
}

TEST_CASE("record_check: progress of what is not queued") {
  support::Records r;
  r.session(1, "c");
  r.progress(1, 3, {Progress::released, 1});  // past PUBREC
  r.progress(1, 4, {Progress::sent, 1});
  CHECK(problems(r) == Lines{"progress sid=1 position=4: there is no such delivery"});
}

TEST_CASE("record_check: two sessions of one client") {
  support::Records r;
  r.session(1, "c");
  r.session(2, "c");
  CHECK(problems(r) == Lines{"session sid=2: its client id has another session, sid=1"});
}

TEST_CASE("record_check: what lies in the wrong store") {
  support::Records r;
  r.retained({.topic = "a/b"});  // its home of two is slot 1
  r.outbox(2, 1, Purpose::publish, {});
  CHECK(problems(r, {0, 2}) ==
        Lines{"outbox for=2 number=1: there is no such slot", "retained topic=a/b: its home is another slot"});
  CHECK(problems(r, {1, 3}).size() == 1);
}

TEST_CASE("record_check: what no client can have brought about") {
  support::Records r;
  r.session(1, "\xFF");
  r.subscription(1, "a/#/b");
  r.share(1, "g/h", "a");
  r.delivery(1, 1, {.publisher = "\xFF"});
  r.progress(1, 1, {Progress::sent, 0});
  CHECK(problems(r) == Lines{"subscription sid=1 filter=a/#/b: its filter is none",
                             "subscription sid=1 group=g/h filter=a: its group or filter is none",
                             "progress sid=1 position=1: it was sent with packet id 0",
                             "delivery sid=1 position=1: the publisher's client id is not UTF-8",
                             "session sid=1: its client id is not UTF-8"});
  support::Records wildcard;
  wildcard.retained({.topic = "a/+"});
  CHECK(problems(wildcard).size() == 1);
}

TEST_CASE("record_check: bytes that are no record") {
  CHECK(problem_of("X", "") == "it is no key of this format");
  CHECK(describe_key("X\x01") == "key 5801");
  std::string key;
  for (const auto write : {+[](std::string& k) { session_key(k, 1); }, +[](std::string& k) { delivery_key(k, 1, 1); },
                           +[](std::string& k) { retained_key(k, "a"); }, +[](std::string& k) { seen_key(k, 1, 1, 1); },
                           +[](std::string& k) { subscription_key(k, 1, "a"); }}) {
    write(key);
    CHECK(problem_of(key, "x") == "its value is malformed");
  }
}

TEST_CASE("record_check: properties that are none") {
  std::string key;
  std::string value;
  retained_key(key, "a");
  bus::Message::Fields f;
  f.topic = "a";
  for (const std::string_view properties : {std::string_view("\x01"), std::string_view("\x7F\x01"),
                                            std::string_view("\x02\0\0\0\x01", 5), std::string_view("\x03\0\5a", 4)}) {
    f.properties = properties;
    value.clear();
    append_message(value, *bus::Message::make(f), {});
    CHECK(problem_of(key, value) != "");
  }
  f.properties = std::string_view("\x01\x01", 2);
  value.clear();
  append_message(value, *bus::Message::make(f), {});
  CHECK(problem_of(key, value) == "");
}
