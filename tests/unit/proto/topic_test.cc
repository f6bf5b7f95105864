#include "proto/topic.h"

#include <string>
#include <vector>

#include "tests/unit/proto/wire.h"

using namespace proto;

TEST_CASE("topic: names") {
  for (const char* name : {"a", "/", "//", "a/b", "/a", "a/", " ", "$SYS/x", "$share/g/a", "a b/c"}) {
    CAPTURE(name);
    CHECK(is_valid_topic_name(name));
  }
  for (const char* name : {"", "#", "+", "a/#", "a/+", "a+", "#a", "+/a"}) {
    CAPTURE(name);
    CHECK_FALSE(is_valid_topic_name(name));
  }
}

TEST_CASE("topic: a wildcard is found wherever it stands") {
  for (size_t size = 0; size < 40; ++size) {
    const std::string plain(size, 'a');
    CHECK_FALSE(has_wildcard(plain));
    CHECK_FALSE(has_wildcard(std::string(size, '\x23' + 1)));
    CHECK_FALSE(has_wildcard(std::string(size, '*')));
    CHECK_FALSE(has_wildcard(std::string(size, '\xA3')));
    for (size_t at = 0; at < size; ++at) {
      for (const char wildcard : {'+', '#'}) {
        std::string text = plain;
        text[at] = wildcard;
        CHECK(has_wildcard(text));
      }
    }
  }
}

TEST_CASE("topic: filters") {
  for (const char* filter : {"a", "/", "#", "+", "+/+", "a/#", "a/+", "/#", "/+", "+/", "+/#", "a/+/b", "//#", "a//b",
                             "$SYS/#", "$share/g/#"}) {
    CAPTURE(filter);
    CHECK(is_valid_topic_filter(filter));
  }
  for (const char* filter :
       {"", "a#", "#a", "a+", "+a", "#/", "#/a", "a/#/b", "##", "++", "a/b#", "a/+b", "a/#b", "+#", "#+", "a/##"}) {
    CAPTURE(filter);
    CHECK_FALSE(is_valid_topic_filter(filter));
  }
}

TEST_CASE("topic: what matches") {
  struct Case {
    const char *filter, *topic;
    bool expected;
  };
  // The examples of the specification first. [MQTT5 4.7.1], [MQTT5 4.7.2]
  for (const Case& one : std::vector<Case>{
           {"sport/tennis/player1/#", "sport/tennis/player1", true},
           {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
           {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
           {"sport/#", "sport", true},
           {"#", "sport", true},
           {"sport/tennis/+", "sport/tennis/player1", true},
           {"sport/tennis/+", "sport/tennis/player1/ranking", false},
           {"sport/+", "sport", false},
           {"sport/+", "sport/", true},
           {"+/+", "/finance", true},
           {"/+", "/finance", true},
           {"+", "/finance", false},
           {"#", "$SYS/monitor", false},
           {"+/monitor/Clients", "$SYS/monitor/Clients", false},
           {"$SYS/#", "$SYS/monitor", true},
           {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
           {"ACCOUNTS", "Accounts", false},
           {"/finance", "finance", false},
           {"a", "a", true},
           {"a", "ab", false},
           {"ab", "a", false},
           {"a/b", "a", false},
           {"a", "a/b", false},
           {"a/", "a", false},
           {"a", "a/", false},
           {"/", "/", true},
           {"+/+", "/", true},
           {"+", "/", false},
           {"#", "/", true},
           {"/#", "/", true},
           {"//#", "/", true},
           {"a/+/c", "a//c", true},
           {"a/+/#", "a/b", true},
           {"a/+/#", "a", false},
           {"a/$x/#", "a/$x", true},
           {"a/+", "a/$x", true},
           {"+/b", "a/b", true},
           {"a/b/#", "a", false},
           {"a/#", "ab", false},
       }) {
    CAPTURE(one.filter);
    CAPTURE(one.topic);
    CHECK(matches(one.filter, one.topic) == one.expected);
  }
}

TEST_CASE("topic: shared filters") {
  struct Case {
    const char *filter, *group, *rest;
  };
  for (const Case& one : std::vector<Case>{{"$share/g/a", "g", "a"},
                                           {"$share/g//", "g", "/"},
                                           {"$share/g/#", "g", "#"},
                                           {"$share/g/a/b/+", "g", "a/b/+"},
                                           {"$share/g/$SYS/x", "g", "$SYS/x"},
                                           {"$share/g/", "g", ""},
                                           {"$share/g", "g", ""},
                                           {"$share/", "", ""},
                                           {"$share//a", "", ""},
                                           {"$share/+/a", "+", ""},
                                           {"$share/g#/a", "g#", ""}}) {
    CAPTURE(one.filter);
    const auto shared = parse_shared_filter(one.filter);
    REQUIRE(shared.has_value());
    CHECK(shared->group == one.group);
    CHECK(shared->filter == one.rest);
  }
  for (const char* filter : {"", "a", "$share", "$shared/g/a", "$SHARE/g/a", "/$share/g/a", "$SYS/#"}) {
    CAPTURE(filter);
    CHECK_FALSE(parse_shared_filter(filter).has_value());
  }
}

TEST_CASE("topic: levels") {
  struct Case {
    const char* topic;
    std::vector<std::string_view> levels;
  };
  for (const Case& one : std::vector<Case>{
           {"a", {"a"}}, {"a/b", {"a", "b"}}, {"/", {"", ""}}, {"", {""}}, {"/a//b/", {"", "a", "", "b", ""}}}) {
    CAPTURE(one.topic);
    CHECK(level_count(one.topic) == one.levels.size());
    LevelReader reader(one.topic);
    std::vector<std::string_view> levels;
    for (std::string_view level; reader.next(level);) {
      levels.push_back(level);
      CHECK(reader.at_end() == (levels.size() == one.levels.size()));
    }
    CHECK(levels == one.levels);
  }
}
