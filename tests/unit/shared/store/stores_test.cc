// What is done to all stores of a broker: another number of slots, export, import, check.
#include "shared/store/stores.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "shared/base/home.h"
#include "shared/store/rebuild.h"
#include "shared/store/record_json.h"
#include "tests/support/records.h"
#include "tests/support/temporary_directory.h"

using namespace store;
using support::Records;

namespace {

namespace fs = std::filesystem;

class Host {
 public:
  const std::string& data_dir() const { return directory_.path(); }
  std::string stores() const { return store_directory(data_dir()); }

  // `slots` stores with these records in them, by slot.
  void make(uint32_t slots, const std::map<uint32_t, Records>& records) {
    prepare_stores(data_dir(), slots);
    for (uint32_t slot = 0; slot < slots; ++slot) {
      StoreWriter writer(slot_in(stores(), slot), {slot, slots});
      if (const auto it = records.find(slot); it != records.end()) {
        for (const auto& [key, value] : it->second.all()) writer.put(key, value);
      }
      writer.finish();
    }
  }
  std::string exported() const {
    std::ostringstream out;
    export_stores(data_dir(), out, [](const std::string& what) { MESSAGE(what); });
    return out.str();
  }
  // Records as "slot record": the sid is left out, a session's records are named by its client id.
  std::multiset<std::string> text() const;
  std::vector<std::string> problems() const {
    std::vector<std::string> found;
    check_stores(data_dir(), [&](const std::string& what) { found.push_back(what); });
    return found;
  }

 private:
  support::TemporaryDirectory directory_;
};

std::multiset<std::string> Host::text() const {
  std::multiset<std::string> lines;
  for (const uint32_t slot : stored_slots(stores())) {
    const RocksDb db({.path = slot_in(stores(), slot), .layout = {}, .read_only = true});
    std::map<uint64_t, std::string> clients;
    db.for_each("S", [&](auto key, auto value) {
      SessionRecord session;
      decode(value, session);
      clients[parse_key(key)->sid] = session.client_id;
      std::string marks;
      for (const Mark& mark : session.marks)
        marks += " " + std::to_string(mark.incarnation) + ":" + std::to_string(mark.sequence);
      lines.insert(std::to_string(slot) + " session " + session.client_id + " " + std::to_string(session.epoch) +
                   marks);
      return true;
    });
    db.for_each({}, [&](auto bytes, auto value) {
      const Key key = *parse_key(bytes);
      const std::string of = std::to_string(slot) + ' ' + clients[key.sid];
      const std::string number = std::to_string(key.number);
      DeliveryRecord delivery;
      RetainedRecord retained;
      switch (key.kind) {
        case Kind::subscription:
          lines.insert(of + (key.shared ? " shares " : " subscribes ") + std::string(key.text));
          break;
        case Kind::delivery:
          decode(value, delivery, {});
          lines.insert(of + " gets " + number + ' ' + std::string(delivery.message->payload()) + " qos " +
                       std::to_string(static_cast<int>(delivery.qos)) + (delivery.shared ? " shared" : ""));
          break;
        case Kind::progress:
          lines.insert(of + " progress " + number);
          break;
        case Kind::incoming:
          lines.insert(of + " incoming " + number);
          break;
        case Kind::accepted: {
          PendingRecord pending;
          decode(value, pending, {});
          lines.insert(std::to_string(slot) + " accepted " + number + ' ' + std::string(pending.message->payload()));
          break;
        }
        case Kind::retained:
          decode(value, retained, {});
          lines.insert(std::to_string(slot) + " retains " + std::string(key.text) + ' ' +
                       std::string(retained.message->payload()));
          break;
        case Kind::seen:
          lines.insert(std::to_string(slot) + " seen " + std::to_string(key.incarnation));
          break;
        case Kind::outbox:
          lines.insert(std::to_string(slot) + " outbox " + std::to_string(key.slot));
          break;
        case Kind::meta:
          if (key.text.starts_with("unheard/")) lines.insert(std::to_string(slot) + ' ' + std::string(key.text));
          break;
        case Kind::session:
          break;
      }
      return true;
    });
  }
  return lines;
}

using Lines = std::multiset<std::string>;

Records with_session(const char* client_id, uint64_t epoch = 1) {
  Records r;
  r.session(3, client_id, epoch);
  return r;
}

// A topic whose home of `slots` is `slot`.
std::string topic_at(uint32_t slot, uint32_t slots, int nth = 0) {
  for (int i = 0;; ++i) {
    std::string topic = "t/" + std::to_string(i);
    if (base::home_of(topic, slots) == slot && nth-- == 0) return topic;
  }
}

std::string at_home(const std::string& client_id, uint32_t slots) {
  return std::to_string(base::home_of(client_id, slots));
}

}  // namespace

// --- another number of slots ---

TEST_CASE("stores: a new data directory is prepared by a note") {
  Host host;
  CHECK_FALSE(stores_prepared(host.data_dir(), 2));
  CHECK_FALSE(prepare_stores(host.data_dir(), 2));
  CHECK(stores_prepared(host.data_dir(), 2));
  CHECK_FALSE(stores_prepared(host.data_dir(), 3));
  CHECK(stored_slots(host.stores()).empty());
}

TEST_CASE("stores: with the same number nothing is rebuilt, even without the note") {
  Host host;
  host.make(2, {{0, with_session("a")}});
  fs::remove(host.stores() + "/slots");
  CHECK_FALSE(prepare_stores(host.data_dir(), 2));
  CHECK(stores_prepared(host.data_dir(), 2));
}

TEST_CASE("stores: sessions stay in their slot while it is there, and go with everything that is theirs") {
  Records r = support::one_of_each();
  Records away;
  away.session(1, "moves");
  away.subscription(1, "x");
  away.delivery(1, 7, {.payload = "queued"});
  away.progress(1, 7, {Progress::sent, 1});
  away.incoming(1, 5);
  Host host;
  host.make(3, {{0, with_session("stays")}, {2, away}});
  CHECK(prepare_stores(host.data_dir(), 2));
  const std::string home = at_home("moves", 2);
  CHECK(host.text() == Lines{"0 session stays 1", home + " session moves 1", home + " moves subscribes x",
                             home + " moves gets 7 queued qos 1", home + " moves progress 7",
                             home + " moves incoming 5"});
  CHECK(host.problems().empty());
  CHECK(prepare_stores(host.data_dir(), 5));
  CHECK(host.text().size() == 6);
  CHECK(host.problems().empty());
  CHECK(stored_slots(host.stores()).size() == 5);
}

TEST_CASE("stores: of two sessions with one client id the higher epoch wins, with what is its own") {
  Records old;
  old.session(1, "c", 4);
  old.delivery(1, 1, {.payload = "old"});
  Records fresh;
  fresh.session(1, "c", 5);
  fresh.delivery(1, 1, {.payload = "fresh"});
  for (const bool first : {true, false}) {
    Host host;
    host.make(2, {{first ? 0u : 1u, old}, {first ? 1u : 0u, fresh}});
    prepare_stores(host.data_dir(), 1);
    CHECK(host.text() == Lines{"0 session c 5", "0 c gets 1 fresh qos 1"});
  }
}

TEST_CASE("stores: retained messages move to their new homes") {
  Host host;
  std::map<uint32_t, Records> records;
  Lines expected;
  for (int i = 0; i < 50; ++i) {
    const std::string topic = "r/" + std::to_string(i);
    records[base::home_of(topic, 3)].retained({.topic = topic, .payload = topic});
    expected.insert(std::to_string(base::home_of(topic, 4)) + " retains " + topic + ' ' + topic);
  }
  host.make(3, records);
  prepare_stores(host.data_dir(), 4);
  CHECK(host.text() == expected);
  CHECK(host.problems().empty());
}

TEST_CASE("stores: what the cluster has not heard of moves to its client's new home") {
  Host host;
  std::map<uint32_t, Records> records;
  Lines expected;
  for (int i = 0; i < 20; ++i) {
    const std::string client = "c" + std::to_string(i);
    records[base::home_of(client, 3)].unheard(client, 7);
    expected.insert(at_home(client, 4) + " unheard/" + client);
  }
  host.make(3, records);
  prepare_stores(host.data_dir(), 4);
  CHECK(host.text() == expected);
  CHECK(host.problems().empty());
}

TEST_CASE("stores: of two retained messages the one that was at home wins") {
  const std::string topic = topic_at(1, 2);
  Host host;
  Records home;
  home.retained({.topic = topic, .payload = "home", .sequence = 1});
  Records away;
  away.retained({.topic = topic, .payload = "away", .sequence = 2});
  host.make(2, {{0, away}, {1, home}});
  prepare_stores(host.data_dir(), 1);
  CHECK(host.text() == Lines{"0 retains " + topic + " home"});
}

TEST_CASE("stores: an outbox is delivered to the sessions of its slot, once") {
  Records to;
  to.session(1, "one");
  to.subscription(1, "a/+", {proto::QoS::exactly_once});
  to.subscription(1, "a/b", {proto::QoS::at_least_once});
  to.delivery(1, 4, {.payload = "before"});
  to.session(2, "two");
  to.subscription(2, "a/#", {proto::QoS::at_most_once});
  to.session(3, "publisher");
  to.subscription(3, "a/b", {proto::QoS::at_least_once, true});
  to.session(4, "is at PUBREL");
  to.subscription(4, "a/b", {proto::QoS::at_least_once});
  to.progress(4, 6, {Progress::released, 1});
  to.seen(0, 7, 0, 5);
  to.seen(0, 8, 2, 5);  // of another stream
  Records other = with_session("of another slot");
  other.subscription(3, "#", {proto::QoS::at_least_once});
  other.outbox(1, 1, Purpose::publish, {.topic = "a/b", .payload = "x", .incarnation = 8, .sequence = 1, .qos = 2});
  other.outbox(1, 2, Purpose::publish, {.topic = "none", .payload = "y", .incarnation = 8, .sequence = 2});
  other.outbox(1, 3, Purpose::publish, {.topic = "a/b", .payload = "known", .incarnation = 7, .sequence = 5});
  Host host;
  host.make(2, {{0, other}, {1, to}});
  prepare_stores(host.data_dir(), 1);
  const Lines lines = host.text();
  CHECK(lines.count("0 one gets 4 before qos 1") == 1);
  CHECK(lines.count("0 one gets 5 x qos 2") == 1);
  CHECK(lines.count("0 is at PUBREL gets 7 x qos 1") == 1);
  CHECK(std::ranges::count_if(lines, [](const std::string& l) { return l.find(" gets ") != l.npos; }) == 3);
  CHECK(std::ranges::count_if(lines, [](const std::string& l) { return l.find("outbox") != l.npos; }) == 0);
}

TEST_CASE("stores: a shared message of an outbox goes to one member") {
  Records to;
  for (uint64_t sid : {1, 2}) {
    to.session(sid, "m" + std::to_string(sid));
    to.share(sid, "g", "a/#");
  }
  Records from = with_session("from");
  from.outbox(1, 1, Purpose::shared, {.topic = "a/b", .payload = "x"}, "g", "a/#");
  Host host;
  host.make(2, {{0, from}, {1, to}});
  prepare_stores(host.data_dir(), 3);
  CHECK(host.text().count("1 m1 gets 1 x qos 1 shared") == 1);
  CHECK(host.problems().empty());
}

// The number of the last message of a stream says nothing of one that went to a group.
TEST_CASE("stores: a shared message of an outbox is known by the member that has it, and by nothing else") {
  Records to;
  for (uint64_t sid : {1, 2}) {
    to.session(sid, "m" + std::to_string(sid));
    to.share(sid, "g", "a/#");
  }
  to.seen(0, 8, 0, 99);
  to.delivery(2, 1, {.topic = "a/b", .payload = "given", .incarnation = 8, .sequence = 6}, "g", "a/#");
  Records from = with_session("from");
  from.outbox(1, 1, Purpose::shared, {.topic = "a/b", .payload = "new", .incarnation = 8, .sequence = 5}, "g", "a/#");
  from.outbox(1, 2, Purpose::shared, {.topic = "a/b", .payload = "given", .incarnation = 8, .sequence = 6}, "g", "a/#");
  Host host;
  host.make(2, {{0, from}, {1, to}});
  prepare_stores(host.data_dir(), 3);
  const Lines lines = host.text();
  CHECK(lines.count("1 m1 gets 1 new qos 1 shared") == 1);
  CHECK(lines.count("1 m2 gets 1 given qos 1 shared") == 1);
  CHECK(std::ranges::count_if(lines, [](const std::string& l) { return l.find(" gets ") != l.npos; }) == 2);
}

TEST_CASE("stores: a shared message that a slot without members has got back goes to a member of another") {
  Records to;
  to.session(1, "m");
  to.share(1, "g", "a/#");
  Records from = with_session("from");
  from.outbox(0, 1, Purpose::shared, {.topic = "a/b", .payload = "x"}, "g", "a/#");
  Host host;
  host.make(2, {{0, from}, {1, to}});
  prepare_stores(host.data_dir(), 3);
  CHECK(host.text().count("1 m gets 1 x qos 1 shared") == 1);
}

TEST_CASE("stores: a retained change in an outbox is made") {
  const std::string kept = topic_at(1, 2);
  const std::string cleared = topic_at(1, 2, 1);
  Records home;
  home.retained({.topic = kept, .payload = "old", .incarnation = 5, .sequence = 1});
  home.retained({.topic = cleared, .payload = "old", .incarnation = 5, .sequence = 2});
  Records from;
  from.outbox(1, 1, Purpose::retain, {.topic = kept, .payload = "new", .incarnation = 6, .sequence = 1});
  from.outbox(1, 2, Purpose::retain, {.topic = cleared, .payload = "", .incarnation = 6, .sequence = 2});
  Host host;
  host.make(2, {{0, from}, {1, home}});
  prepare_stores(host.data_dir(), 3);
  CHECK(host.text() == Lines{std::to_string(base::home_of(kept, 3)) + " retains " + kept + " new"});
}

TEST_CASE("stores: the version of a retained message moves with it") {
  const std::string kept = topic_at(1, 2);
  const std::string cleared = topic_at(1, 2, 1);
  Records home;
  home.retained({.topic = kept, .payload = "old"}, 20);
  home.retained({.topic = cleared, .payload = "old"}, 30);
  home.cluster(5);
  Records from;
  from.cluster(5);
  from.outbox(1, 1, Purpose::retain, {.topic = kept, .payload = "new", .incarnation = 6, .sequence = 1});
  from.outbox(1, 2, Purpose::retain, {.topic = cleared, .payload = "", .incarnation = 6, .sequence = 2});
  bool same_cluster = true;
  SUBCASE("of one cluster") {}
  SUBCASE("of two") {
    from.cluster(6);
    same_cluster = false;
  }
  Host host;
  host.make(2, {{0, from}, {1, home}});
  prepare_stores(host.data_dir(), 1);
  StoreWriter stores(slot_in(host.stores(), 0), {0, 1});
  std::string key;
  RetainedRecord record;
  retained_key(key, kept);
  REQUIRE(decode(*stores.get(key), record, {}));
  CHECK(record.message->payload() == "new");
  CHECK(record.version == 21);
  CHECK(record.unconfirmed);
  retained_key(key, cleared);
  REQUIRE(decode(*stores.get(key), record, {}));
  CHECK(record.message->payload().empty());  // the others of the cluster may have it still
  CHECK(record.version == 31);
  meta_key(key, "cluster");
  CHECK(stores.get(key).has_value() == same_cluster);
}

TEST_CASE("stores: what is accepted goes on, and moved sessions know what they have of it") {
  Records gone;
  gone.session(1, "moves");
  gone.seen(0, 8, 2, 50);
  gone.seen(0, 8, 0, 99);  // of another stream
  gone.seen(0, 9, 2, 60);  // nothing of this one will come again
  gone.accepted(1, {.payload = "p", .incarnation = 8, .sequence = 51});
  gone.accepted(2, {.payload = "q", .incarnation = 8, .sequence = 52});
  Records stays = with_session("stays");
  stays.seen(0, 8, 2, 40);
  stays.accepted(9, {.payload = "o", .incarnation = 8, .sequence = 3});
  Host host;
  host.make(2, {{0, stays}, {1, gone}});
  prepare_stores(host.data_dir(), 1);
  CHECK(host.text() == Lines{"0 session moves 1 8:50", "0 session stays 1", "0 seen 8", "0 accepted 1 o",
                             "0 accepted 2 p", "0 accepted 3 q"});
}

TEST_CASE("stores: who was connected when its worker ended was so until then, in its new slot too") {
  const auto alive_at = [](uint64_t at, Records records) {
    records.alive(at);
    return records;
  };
  Host host;
  host.make(2, {{0, alive_at(70, with_session("stays"))}, {1, alive_at(80, with_session("moves"))}});
  prepare_stores(host.data_dir(), 1);
  const std::string text = host.exported();
  CHECK(text.find(R"({"slot":0,"record":"alive","at":70})") != std::string::npos);
  CHECK(text.find(R"("client_id":"stays","epoch":1,"expiry_interval":0,"disconnected_at":0)") != std::string::npos);
  CHECK(text.find(R"("client_id":"moves","epoch":1,"expiry_interval":0,"disconnected_at":80)") != std::string::npos);
}

TEST_CASE("stores: what a killed rebuild has left is in nobody's way") {
  Host host;
  host.make(2, {{0, with_session("a")}, {1, with_session("b")}});
  fs::create_directories(host.stores() + ".new/slot-0");
  std::ofstream(host.stores() + ".new/slot-0/CURRENT") << "half";
  CHECK(prepare_stores(host.data_dir(), 1));
  CHECK(host.text() == Lines{"0 session a 1", "0 session b 1"});
  CHECK_FALSE(fs::exists(host.stores() + ".new"));
}

TEST_CASE("stores: a malformed record stops a rebuild, and nothing is changed") {
  Host host;
  host.make(2, {});
  StoreWriter writer(slot_in(host.stores(), 1), {1, 2});
  writer.put(std::string("S\0\0\0\0\0\0\0\1", 9), "rubbish");
  writer.finish();
  CHECK_THROWS_WITH_AS(prepare_stores(host.data_dir(), 1), doctest::Contains("session sid=1"), Error);
  CHECK(stored_slots(host.stores()).size() == 2);
}

// --- export, import, check ---

TEST_CASE("stores: what was exported is imported to the same export") {
  Host from;
  from.make(2, {{0, support::one_of_each()}, {1, with_session("other")}});
  const std::string text = from.exported();
  CHECK(std::ranges::count(text, '\n') == 16);
  Host to;
  std::istringstream in(text);
  CHECK(import_stores(to.data_dir(), in).records == 15);
  CHECK(to.exported() == text);
  CHECK(to.problems() == from.problems());
  CHECK(stores_prepared(to.data_dir(), 2));
}

TEST_CASE("stores: an import into stores that are there: the newer wins, the number of slots stays") {
  Records there;
  there.session(1, "both", 5);
  there.session(2, "only here", 1);
  there.retained({.topic = "r", .payload = "here", .incarnation = 2});
  there.retained({.topic = "q", .payload = "here", .incarnation = 1});
  Host to;
  to.make(1, {{0, there}});
  Records coming;
  coming.session(1, "both", 4);
  coming.session(2, "only there", 1);
  std::map<uint32_t, Records> records{{0, coming}};
  records[base::home_of("r", 3)].retained({.topic = "r", .payload = "there", .incarnation = 1});
  records[base::home_of("q", 3)].retained({.topic = "q", .payload = "there", .incarnation = 2});
  Host from;
  from.make(3, records);
  std::istringstream in(from.exported());
  import_stores(to.data_dir(), in);
  CHECK(to.text() == Lines{"0 session both 5", "0 session only here 1", "0 session only there 1", "0 retains r here",
                           "0 retains q there"});
  CHECK(to.problems().empty());
}

TEST_CASE("stores: an import that is wrong changes nothing and says in which line") {
  Host host;
  host.make(1, {{0, with_session("a")}});
  const std::string header = to_json(ExportHeader{1}) + '\n';
  const auto error = [&](const std::string& text) -> std::string {
    std::istringstream in(text);
    try {
      import_stores(host.data_dir(), in);
    } catch (const std::exception& wrong) {
      return wrong.what();
    }
    return "none";
  };
  CHECK(error("") == "it is empty");
  CHECK(error("rubbish\n").starts_with("found rubbish; expected the first line of an export"));
  CHECK(error(header + "rubbish\n").starts_with("line 2: "));
  CHECK(error(header + R"({"slot":1,"record":"incoming","sid":1,"packet_id":1,"number":0})" + '\n') ==
        "line 2: there is no slot 1");
  CHECK(error(header + R"({"slot":0,"record":"incoming","sid":1,"packet_id":0,"number":0})" + '\n') ==
        "line 2: incoming sid=1 packet_id=0: its packet id is 0");
  CHECK(host.text() == Lines{"0 session a 1"});
  CHECK_FALSE(fs::exists(host.data_dir() + "/store.import"));
}

TEST_CASE("stores: a check finds damaged files and records") {
  Host host;
  Records r;
  r.delivery(1, 1, {});
  host.make(2, {{0, r}, {1, with_session("a")}});
  CHECK(host.problems() == std::vector<std::string>{"slot 0: delivery sid=1 position=1: there is no such session"});
  for (const auto& entry : fs::directory_iterator(slot_in(host.stores(), 1))) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);
    file.put('\x55');
  }
  const auto problems = host.problems();
  REQUIRE(problems.size() == 2);
  CHECK(problems[1].find("Corruption") != std::string::npos);
}

TEST_CASE("stores: what is in them") {
  Host host;
  host.make(2, {{0, support::one_of_each()}});
  const std::vector<StoreInfo> infos = inspect_stores(host.data_dir());
  REQUIRE(infos.size() == 2);
  CHECK(infos[0].slots == 2);
  CHECK(infos[0].sessions == 1);
  CHECK(infos[0].subscriptions == 2);
  CHECK(infos[0].queued == 1);
  CHECK(infos[0].retained == 2);
  CHECK(infos[0].outbox == 4);
  CHECK(infos[0].bytes > 0);
  CHECK(infos[1].slot == 1);
  CHECK(infos[1].sessions == 0);
  CHECK(infos[1].problem.empty());
}
