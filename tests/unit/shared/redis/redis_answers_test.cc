#include "shared/redis/redis_answers.h"

#include <doctest/doctest.h>

#include "shared/redis/redis_scripts.h"

namespace {

using cluster::Status;
using redis::Reply;
using redis::Severity;

Reply parse(std::string_view bytes) {
  redis::ReplyReader reader(1 << 20);
  reader.feed(bytes);
  auto reply = reader.next();
  REQUIRE(reply.has_value());
  return std::move(*reply);
}

Reply text(std::string value) {
  return {Reply::Type::text, 0, std::move(value), {}};
}
Reply number(int64_t value) {
  return {Reply::Type::integer, value, {}, {}};
}
Reply array(std::vector<Reply> items) {
  return {Reply::Type::array, 0, {}, std::move(items)};
}

// Every reply that differs from `good` in one place: an element less, one more, another type, another text.
void for_each_wrong(const Reply& good, const std::function<void(const Reply&)>& f) {
  const Reply others[] = {{}, number(-1), number(1'000'000), text("x"), text("-1"), array({}), array({number(7)})};
  for (const Reply& other : others) {
    if (other.type != good.type) f(other);
  }
  for (size_t i = 0; i < good.items.size(); ++i) {
    Reply less = good;
    less.items.erase(less.items.begin() + static_cast<std::ptrdiff_t>(i));
    f(less);
    Reply more = good;
    more.items.insert(more.items.begin() + static_cast<std::ptrdiff_t>(i), Reply{});
    f(more);
    for_each_wrong(good.items[i], [&](const Reply& wrong) {
      Reply changed = good;
      changed.items[i] = wrong;
      f(changed);
    });
  }
}

const Reply kMembership = array({number(0), text("a.1"), number(1), text("99"), text("12"), number(7000), text("5"),
                                 array({text("a.1"), text("7"), text("10000"), text(""), text("h:1"), text("b.2"),
                                        text("8"), text("0"), text("a.1"), text("")})});
const Reply kEntries = array({array(
    {text("in"),
     array({array({text("5-0"), array({text("f"), text("a.1"), text("g"), text("7"), text("d"), text("")})})})})});
const Reply kChanges = array({array(
    {text("ch"),
     array({array({text("5-0"),
                   array({text("p"), text("4"), text("t"), text("a"), text("n"), text("9"), text("v"), text("x")})}),
            array({text("8-0"), array({text("p"), text("5"), text("t"), text("b"), text("n"), text("3")})})})})});
const Reply kRecords = array({number(0), number(3), array({number(3), text("17")}), array({text("k"), text("v")})});
const Reply kSnapshot = array({text("12"), array({text("t"), text("9 v v"), text("u"), text("8 ")})});

TEST_CASE("redis_answers: what scripts answer") {
  CHECK(redis::to_status(array({number(0)})) == Status::ok);
  CHECK(redis::to_status(array({number(1)})) == Status::fenced);
  CHECK(redis::to_status(array({number(2)})) == Status::refused);
  const auto joined = redis::to_joined(kMembership);
  REQUIRE(joined.has_value());
  CHECK(joined->number == 5);
  const cluster::Membership* membership = &joined->membership;
  CHECK(membership->key == "a.1");
  CHECK(membership->fresh);
  CHECK(membership->cluster_id == 99);
  CHECK(membership->inbox_end == 12);
  CHECK(membership->calm_ms == 7000);
  CHECK(membership->nodes == std::vector<cluster::Node>{{"a.1", 7, 10000, "", "h:1"}, {"b.2", 8, 0, "a.1", ""}});
  CHECK(redis::to_claimed(array({number(0), text("5"), text("b.2")})) == cluster::Claimed{5, "b.2"});
  CHECK(redis::to_held(array({number(0), text("5"), text("a"), text("")})) == cluster::Held{5, "a", ""});
  const auto mine = redis::to_mine(array({number(0), array({text("c"), text("9"), number(1)})}));
  REQUIRE(mine.has_value());
  REQUIRE(mine->size() == 1);
  CHECK(mine->at(0).client == "c");
  CHECK(mine->at(0).epoch == 9);
  CHECK(mine->at(0).holds);
}

TEST_CASE("redis_answers: entries of an inbox") {
  const auto entries = redis::to_entries(kEntries, "in");
  REQUIRE(entries.has_value());
  REQUIRE(entries->size() == 1);
  CHECK(entries->at(0).id == 5);
  CHECK(entries->at(0).from == "a.1");
  CHECK(entries->at(0).gateway == 7);
  CHECK(redis::to_entries({}, "in")->empty());
  CHECK_FALSE(redis::to_entries(kEntries, "other").has_value());
}

TEST_CASE("redis_answers: changes know the one before") {
  auto read = redis::to_changes(kChanges, "ch", 4);
  REQUIRE(read.has_value());
  CHECK_FALSE(read->changes.gap);
  CHECK(read->changes.next == 8);
  CHECK(read->changes.items[0] == cluster::Retained{9, "a", "x"});
  CHECK(read->kept == std::vector<size_t>{1});
  CHECK(redis::to_changes(kChanges, "ch", 3)->changes.gap);
  CHECK(redis::to_changes({}, "ch", 3)->changes == cluster::Changes{3, false, {}});

  auto gone = *read;
  CHECK(redis::fill_kept(array({text("11 newer")}), *read));
  CHECK(read->changes.items[1] == cluster::Retained{11, "b", "newer"});
  CHECK(redis::fill_kept(array({Reply{}}), gone));
  CHECK(gone.changes.items.size() == 1);
  CHECK(gone.changes.next == 8);
}

TEST_CASE("redis_answers: pieces of snapshots and copies") {
  const auto snapshot = redis::to_snapshot(kSnapshot);
  REQUIRE(snapshot.has_value());
  CHECK(*snapshot == cluster::Changes{12, false, {{9, "t", "v v"}, {8, "u", ""}}});
  const auto records = redis::to_records(kRecords);
  REQUIRE(records.has_value());
  CHECK(records->items.size() == 1);
  const redis::CopyCursor at = redis::to_copy_cursor(records->next);
  CHECK((at.slot == 3 && at.cursor == 17));
  const auto last = redis::to_records(array({number(0), number(3), array({}), array({})}));
  CHECK(last->next == 0);
  const auto huge = array({number(0), number(3), array({number(3), text("1099511627776")}), array({})});
  CHECK_FALSE(redis::to_records(huge).has_value());
}

TEST_CASE("redis_answers: a reply that is wrong in one place is not understood") {
  size_t wrong = 0;
  for_each_wrong(kMembership, [&](const Reply& reply) {
    ++wrong;
    CHECK_FALSE((redis::to_status(reply).has_value() && redis::to_joined(reply).has_value()));
  });
  for_each_wrong(kEntries, [&](const Reply& reply) {
    const auto entries = redis::to_entries(reply, "in");
    // Fewer entries are fine, and what the frames are is not our business.
    if (entries && !entries->empty()) CHECK(reply.items[0].items[1].items[0].items[1].items.size() == 6);
  });
  for_each_wrong(kRecords, [&](const Reply& reply) {
    if (const auto records = redis::to_records(reply)) CHECK(reply.items.size() == 4);
  });
  for_each_wrong(kSnapshot, [&](const Reply& reply) {
    if (const auto snapshot = redis::to_snapshot(reply))
      CHECK(snapshot->items.size() * 2 == reply.items[1].items.size());
  });
  for_each_wrong(kChanges, [&](const Reply& reply) {
    auto read = redis::to_changes(reply, "ch", 4);
    if (read) CHECK(read->kept.size() <= read->changes.items.size());
  });
  CHECK(wrong > 50);
}

TEST_CASE("redis_answers: what the server says about itself") {
  const std::string_view info = "# Server\r\nredis_version:7.0.15\r\nx:y\r\n";
  CHECK(redis::info_field(info, "redis_version") == "7.0.15");
  CHECK(redis::info_field(info, "x") == "y");
  CHECK(redis::info_field(info, "version").empty());
  CHECK(redis::info_field("nothing", "nothing").empty());
  CHECK(redis::to_is_master(array({text("master"), number(0), array({})})) == true);
  CHECK(redis::to_is_master(array({text("slave")})) == false);
  CHECK_FALSE(redis::to_is_master(number(1)).has_value());
  const auto config = [](const char* appendonly, const char* save, const char* policy) {
    return redis::configuration_warnings(array(
        {text("save"), text(save), text("appendonly"), text(appendonly), text("maxmemory-policy"), text(policy)}));
  };
  CHECK(config("yes", "", "noeviction").empty());
  CHECK(config("no", "", "noeviction").size() == 1);
  CHECK(config("no", "60 1", "volatile-lru").size() == 2);
  CHECK(redis::configuration_warnings(parse("-NOPERM no\r\n")).size() == 1);
  CHECK(redis::configuration_warnings(array({text("save")})).size() == 1);
}

TEST_CASE("redis_answers: which errors end the connection") {
  for (const char* error :
       {"OOM command not allowed", "BUSY Redis is busy", "MISCONF x", "WRONGTYPE x", "ERR x", "", "X"}) {
    CHECK(redis::severity_of(error) == Severity::refused);
  }
  for (const char* error : {"READONLY You can't", "LOADING x", "NOSCRIPT x", "NOAUTH x", "MASTERDOWN x"}) {
    CHECK(redis::severity_of(error) == Severity::useless);
  }
}

TEST_CASE("redis_scripts: a client id stays in its bucket") {
  CHECK(redis::bucket_of("") == 961);
  CHECK(redis::bucket_of("a") == 192);
  CHECK(redis::bucket_of("client-1") == 218);
}

TEST_CASE("redis_scripts: each has a name and a text with its constants") {
  for (size_t i = 0; i < redis::kScripts; ++i) {
    const auto which = static_cast<redis::Script>(i);
    CHECK_FALSE(redis::script_name(which).empty());
    CHECK(redis::script_text(which).find("INLINE") == std::string::npos);
  }
}

}  // namespace
