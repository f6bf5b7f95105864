#include "worker/router/retained.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "proto/topic.h"
#include "shared/base/random.h"

namespace router {
namespace {

using Topics = std::vector<std::string>;

bus::MessageRef message(std::string_view topic, std::string_view payload = "x", base::MonoMs expires_at = 0) {
  return bus::Message::make({.uid = {},
                             .retain = true,
                             .expires_at = expires_at,
                             .topic = topic,
                             .publisher = {},
                             .properties = {},
                             .payload = payload,
                             .payload_buffer = {}});
}

Topics topics_of(const std::vector<bus::MessageRef>& messages) {
  Topics topics;
  for (const bus::MessageRef& m : messages) topics.emplace_back(m->topic());
  std::sort(topics.begin(), topics.end());
  return topics;
}

size_t sweep(Retained& retained, base::MonoMs now, size_t max) {
  std::vector<Retained::Entry> expired;
  retained.find_expired(now, max, expired);
  for (const Retained::Entry& entry : expired) retained.erase(entry.message->topic());
  return expired.size();
}

Topics query(const Retained& retained, std::string_view filter, size_t slice = 1000, base::MonoMs now = 0) {
  std::vector<bus::MessageRef> found;
  for (Retained::Cursor cursor(filter); !cursor.done();) {
    const size_t before = found.size();
    retained.next(cursor, slice, now, found);
    CHECK(found.size() - before <= slice);
  }
  return topics_of(found);
}

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

std::string random_path(base::Random& random, const Topics& words) {
  std::string path = words[random.below(words.size())];
  for (size_t n = random.below(4); n > 0; --n) path += "/" + words[random.below(words.size())];
  return path.empty() ? "a" : path;
}
std::string random_topic(base::Random& random) {
  return random_path(random, {"a", "b", "", "$s", "eleven bytes"});
}
std::string random_filter(base::Random& random) {
  std::string filter = random_path(random, {"a", "b", "", "+", "+", "eleven bytes"});
  if (random.one_in(2)) filter += "/#";
  return random.one_in(6) ? "#" : filter;
}

}  // namespace

TEST_CASE("retained: set, replace, delete") {
  Retained retained;
  CHECK(retained.find("a/b") == nullptr);
  retained.set(message("a/b", "1"));
  retained.set(message("a/b", "22"));
  CHECK(retained.count() == 1);
  CHECK(retained.bytes() == message("a/b", "22")->footprint());
  REQUIRE(retained.find("a/b") != nullptr);
  CHECK((*retained.find("a/b"))->payload() == "22");
  CHECK(retained.find("a") == nullptr);
  CHECK(retained.set(message("a/b", "")));
  CHECK(retained.find("a/b") == nullptr);
  CHECK(retained.count() == 0);
  CHECK(retained.bytes() == 0);
}

TEST_CASE("retained: deleting prunes the branch, but not what is above or below a message") {
  Retained retained;
  for (const char* topic : {"a", "a/b/c", "a/b/c/d/e"}) retained.set(message(topic));
  CHECK(retained.nodes() == 5);
  retained.set(message("a/b/c", ""));
  CHECK(retained.nodes() == 5);
  retained.set(message("a/b/c/d/e", ""));
  CHECK(retained.nodes() == 1);
  retained.set(message("a", ""));
  CHECK(retained.nodes() == 0);
}

TEST_CASE("retained: deleting what is not there makes no nodes") {
  Retained retained;
  CHECK(retained.set(message("a/b", "")));
  CHECK(retained.nodes() == 0);
}

TEST_CASE("retained: a new topic over the limit is refused, a known one replaced") {
  Retained retained;
  CHECK(retained.set(message("a"), 1));
  CHECK_FALSE(retained.set(message("b/c"), 1));
  CHECK(retained.nodes() == 1);
  CHECK(retained.set(message("a", "new"), 1));
  CHECK(retained.set(message("b"), 2));
}

TEST_CASE("retained: queries") {
  Retained retained;
  for (const char* topic : {"a", "a/b", "a/b/c", "a//c", "/", "b", "$SYS/x", "a/$x"}) retained.set(message(topic));
  CHECK(query(retained, "a") == Topics{"a"});
  CHECK(query(retained, "x").empty());
  CHECK(query(retained, "a/+") == Topics{"a/$x", "a/b"});
  CHECK(query(retained, "a/+/c") == Topics{"a//c", "a/b/c"});
  CHECK(query(retained, "a/#").size() == 5);
  CHECK(query(retained, "a/b/#") == Topics{"a/b", "a/b/c"});
  CHECK(query(retained, "+/+") == Topics{"/", "a/$x", "a/b"});
  CHECK(query(retained, "#").size() == 7);
  CHECK(query(retained, "+/x").empty());
  CHECK(query(retained, "$SYS/#") == Topics{"$SYS/x"});
  CHECK(query(retained, "$SYS/+") == Topics{"$SYS/x"});
}

TEST_CASE("retained: a query of an empty store is done at once") {
  Retained retained;
  CHECK(query(retained, "#").empty());
  CHECK(query(retained, "+").empty());
}

TEST_CASE("retained: expired messages are left out of queries and swept") {
  Retained retained;
  for (int i = 0; i < 100; ++i) retained.set(message("a/" + std::to_string(i), "x", i % 2 == 0 ? 10u : 0u));
  retained.set(message("b", "x", 1000));
  CHECK(query(retained, "#", 7, 9).size() == 101);
  CHECK(query(retained, "#", 7, 10).size() == 51);
  CHECK(sweep(retained, 9, 1000) == 0);
  size_t swept = 0;
  for (int i = 0; i < 20; ++i) swept += sweep(retained, 10, 7);
  CHECK(swept == 50);
  CHECK(retained.count() == 51);
  CHECK(sweep(retained, 10, 0) == 0);
}

TEST_CASE("retained: the sweep reaches '$'-topics and prunes") {
  Retained retained;
  retained.set(message("$SYS/x/y", "x", 5));
  CHECK(sweep(retained, 5, 10) == 1);
  CHECK(retained.nodes() == 0);
}

TEST_CASE("retained: a slice looks at a bounded number of nodes") {
  Retained retained;
  for (int i = 0; i < 20'000; ++i) retained.set(message("a/" + std::to_string(i) + "/x"));
  retained.set(message("a/last/y"));
  std::vector<bus::MessageRef> found;
  Retained::Cursor cursor("a/+/y");
  retained.next(cursor, 10, 0, found);
  CHECK(found.empty());
  CHECK_FALSE(cursor.done());
  while (!cursor.done()) retained.next(cursor, 10, 0, found);
  CHECK(found.size() == 1);
}

TEST_CASE("retained: a cursor goes on behind the nodes that were removed under it") {
  Retained retained;
  for (const char* topic : {"a/1", "a/2/x", "a/3", "b"}) retained.set(message(topic));
  Retained::Cursor cursor("#");
  std::vector<bus::MessageRef> found;
  retained.next(cursor, 1, 0, found);
  retained.set(message("a/2/x", ""));
  retained.set(message("a/3", ""));
  retained.set(message("a/1", ""));
  while (!cursor.done()) retained.next(cursor, 1, 0, found);
  CHECK(topics_of(found) == Topics{"a/1", "b"});
}

TEST_CASE("retained: everything may disappear under a cursor, and the store itself") {
  std::vector<bus::MessageRef> found;
  Retained::Cursor cursor("#");
  Retained::Cursor other("a/#");
  {
    Retained retained;
    for (const char* topic : {"a/1", "a/2"}) retained.set(message(topic));
    retained.next(cursor, 1, 0, found);
    retained.next(other, 1, 0, found);
    for (const char* topic : {"a/1", "a/2"}) retained.set(message(topic, ""));
    CHECK(cursor.done());
    CHECK(retained.nodes() == 0);
    retained.set(message("b"));
    Retained::Cursor third("#");
    retained.set(message("c"));
    retained.next(third, 1, 0, found);
    cursor = std::move(third);
  }
  CHECK(cursor.done());
}

TEST_CASE("retained: a cursor may be dropped half way") {
  Retained retained;
  for (const char* topic : {"a/1", "a/2", "a/3"}) retained.set(message(topic));
  std::vector<bus::MessageRef> found;
  {
    Retained::Cursor a("#");
    Retained::Cursor b("a/+");
    retained.next(a, 1, 0, found);
    retained.next(b, 2, 0, found);
    const Retained::Cursor moved = std::move(a);
  }
  for (const char* topic : {"a/1", "a/2", "a/3"}) retained.set(message(topic, ""));
  CHECK(retained.nodes() == 0);
}

TEST_CASE("retained: random stores answer random filters like the reference matcher") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    base::Random random(seed);
    Retained retained;
    std::set<std::string> model;
    for (int i = 0; i < 60; ++i) {
      const std::string topic = random_topic(random);
      const bool remove = random.one_in(3);
      retained.set(message(topic, remove ? "" : "x"));
      remove ? static_cast<void>(model.erase(topic)) : static_cast<void>(model.insert(topic));
      const std::string filter = random_filter(random);
      Topics wanted;
      std::copy_if(model.begin(), model.end(), std::back_inserter(wanted),
                   [&](const std::string& t) { return proto::matches(filter, t); });
      CAPTURE(filter);
      REQUIRE(query(retained, filter, 1 + random.below(5)) == wanted);
    }
  }
}

// Several cursors run while topics are set and deleted between their slices: what stays the same from a cursor's begin
// to its end it returns exactly once, and never what was not there meanwhile.
TEST_CASE("retained: cursors survive random changes between slices") {
  struct Query {
    Query(std::string f, std::set<std::string> now) : filter(std::move(f)), cursor(filter), steady(now), ever(now) {}
    std::string filter;
    Retained::Cursor cursor;
    std::set<std::string> steady;  // there, unchanged, since the begin
    std::set<std::string> ever;    // there at some time since the begin
    std::vector<bus::MessageRef> found;
  };
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    base::Random random(seed);
    Retained retained;
    std::set<std::string> model;
    std::vector<std::unique_ptr<Query>> queries;
    for (int i = 0; i < 1500; ++i) {
      const std::string topic = random_topic(random);
      const bool remove = random.one_in(2);
      retained.set(message(topic, remove ? "" : "x"));
      remove ? static_cast<void>(model.erase(topic)) : static_cast<void>(model.insert(topic));
      for (auto& q : queries) {
        q->steady.erase(topic);
        if (!remove) q->ever.insert(topic);
      }
      if (queries.size() < 4) queries.push_back(std::make_unique<Query>(random_filter(random), model));
      Query& q = *queries[random.below(queries.size())];
      if (random.one_in(2)) retained.next(q.cursor, 1 + random.below(3), 0, q.found);
      if (!q.cursor.done()) continue;
      const Topics found = topics_of(q.found);
      std::map<std::string, int> times;
      for (const std::string& t : found) ++times[t];
      for (const std::string& t : q.steady) {
        if (proto::matches(q.filter, t)) REQUIRE(times[t] == 1);
      }
      for (const std::string& t : found) REQUIRE((q.ever.contains(t) && proto::matches(q.filter, t)));
      queries.erase(std::find_if(queries.begin(), queries.end(), [&](auto& p) { return p.get() == &q; }));
    }
    for (const std::string& t : std::set<std::string>(model)) retained.set(message(t, ""));
    CHECK(retained.nodes() == 0);
    CHECK(retained.bytes() == 0);
  }
}

TEST_CASE("retained: a topic of thirty thousand levels") {
  Retained retained;
  const std::string deep = repeat("a/", 30'000);
  retained.set(message(deep));
  CHECK(retained.nodes() == 30'001);
  CHECK(query(retained, "#") == Topics{deep});
  CHECK(query(retained, repeat("+/", 30'000) + "+") == Topics{deep});
  CHECK(query(retained, deep) == Topics{deep});
  retained.set(message(deep, ""));
  CHECK(retained.nodes() == 0);
}

TEST_CASE("retained: a tombstone is there, but found by no query") {
  Retained retained;
  retained.put(message("a/b", "1"), {5, 1, false});
  retained.put(message("a/b", "", 10), {6, 1, true});
  retained.put(message("a", "2"), {7, 2, false});
  CHECK(retained.find("a/b") == nullptr);
  CHECK(query(retained, "#") == Topics{"a"});
  CHECK(retained.count() == 1);
  CHECK(retained.tombstones() == 1);
  CHECK(retained.bytes() == message("a", "2")->footprint());
  CHECK(retained.entry("a/b").stamp.version == 6);
  CHECK(retained.entry("a/b").stamp.unconfirmed);
  CHECK_FALSE(retained.entry("a/c").message);
  std::vector<Retained::Entry> all;
  for (Retained::Cursor cursor("#", true); !cursor.done();) retained.scan(cursor, all);
  CHECK(all.size() == 2);
  retained.restamp("a/b", {6, 3, false});
  CHECK(retained.entry("a/b").stamp.round == 3);
  CHECK(sweep(retained, 10, 5) == 1);
  CHECK(retained.tombstones() == 0);
  retained.erase("a");
  CHECK(retained.nodes() == 0);
  retained.set(message("a/b", "3"));
  CHECK(retained.entry("a/b").stamp.version == 0);
}

}  // namespace router
