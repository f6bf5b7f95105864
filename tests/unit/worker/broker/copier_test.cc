// The copy of what a worker stores, its host's life, and what goes after a session: the test is the gateway. The bytes
// of the frames: a change needs a new kBusVersion.
#include <algorithm>
#include <optional>

#include "shared/store/record.h"
#include "tests/support/broker_world.h"
#include "tests/support/dialect.h"

using bus::FrameType;
using bus::kAckSoon;
using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;
using support::number;
using support::ScriptedPeer;
using support::text;

namespace {

// Worker 0 is the host's only one; slot 1 is its gateway.
struct Fixture {
  BrokerWorld world{1, {.mqtt = {}, .clustered = true}};
  ScriptedPeer gateway{world};

  Fixture() {
    gateway.send(FrameType::sync_end);
    REQUIRE(gateway.run());
    gateway.frames();
  }
  Lines frames() {
    REQUIRE(gateway.run());
    return gateway.frames();
  }
  // The steps that have come, by the hexadecimal digit of their kind; notes the round.
  std::string steps() {
    std::string kinds;
    const std::string prefix = ScriptedPeer::frame(FrameType::copy, "");
    for (const std::string& line : frames()) {
      if (!line.starts_with(prefix)) continue;
      std::string body = line.substr(prefix.size());
      std::erase(body, ' ');
      round = 0;
      for (size_t i = 8; i-- > 0;) round = round << 8 | std::stoul(body.substr(2 * i, 2), nullptr, 16);
      kinds += body[17];
      last = body.substr(18);
    }
    return kinds;
  }
  void copied(uint64_t so_many) { gateway.send(FrameType::copied, number(round) + number(so_many)); }
  void connect(BrokerClient& client, const std::string& id, uint32_t expiry, uint64_t epoch) {
    client.connect(id, {.clean = false, .expiry = expiry});
    done += steps().size();
    gateway.send(FrameType::cluster_granted, number(epoch) + "00" + text(id));
  }
  // Everything that is stored has been copied.
  void whole() {
    gateway.send(FrameType::copy_state, "01");
    std::string all = steps();
    for (int i = 0; i < 3 && !all.ends_with('2'); ++i) all += steps();
    REQUIRE(all.starts_with('0'));
    REQUIRE(all.ends_with('2'));
    done = all.size();
    copied(done);
    done += steps().size();
  }
  // All steps of which it has not been said yet.
  void copy_all() {
    for (size_t more = 1; more != 0;) {
      more = steps().size();
      done += more;
      copied(done);
    }
  }
  uint64_t stored(store::Kind kind) {
    const auto& disk = world.disk(0);
    return static_cast<uint64_t>(std::count_if(
        disk.begin(), disk.end(), [&](const auto& record) { return record.first[0] == static_cast<char>(kind); }));
  }

  uint64_t round = 0;
  std::string last;
  size_t done = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "copier: everything stored, then every batch; what rests on one waits for its copy") {
  whole();
  BrokerClient client(world, 0);
  connect(client, "c", 600, 9);
  copy_all();
  CHECK(client.received().size() == 1);
  client.publish("t", "x", 2);
  CHECK(steps().starts_with('1'));
  CHECK(client.received().empty());  // stored, but not copied
  copied(++done);
  copy_all();
  CHECK(client.received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "copier: without Redis nothing waits for copies, and another round follows") {
  whole();
  const uint64_t first = round;
  BrokerClient client(world, 0);
  connect(client, "c", 600, 9);
  copy_all();
  client.received();
  client.publish("t", "x", 2);
  steps();
  CHECK(client.received().empty());
  gateway.send(FrameType::copy_state, "00");
  frames();
  CHECK(client.received().size() == 1);
  client.publish("u", "x", 2);
  CHECK(steps().empty());
  CHECK(client.received().size() == 1);
  gateway.send(FrameType::copy_state, "01");
  CHECK(steps().starts_with('0'));
  CHECK(round > first);
}

TEST_CASE_FIXTURE(Fixture, "copier: what is refused is begun anew a little later") {
  gateway.send(FrameType::copy_state, "01");
  CHECK(steps().starts_with('0'));
  gateway.send(FrameType::copy_state, "02");
  CHECK(steps().empty());
  world.pass(1000);
  CHECK(steps().starts_with('0'));
}

TEST_CASE_FIXTURE(Fixture, "copier: retained messages are not copied") {
  whole();
  BrokerClient client(world, 0);
  connect(client, "c", 0, 9);
  copy_all();
  client.received();
  client.publish("t", "kept", 0, true);
  CHECK(steps().empty());
}

TEST_CASE_FIXTURE(Fixture, "host_life: in another life what was copied is given up, what is younger stays") {
  gateway.send(FrameType::life, number(5) + text("a.1"));
  frames();
  whole();
  BrokerClient old(world, 0);
  connect(old, "old", 600, 1);
  copy_all();
  BrokerClient young(world, 0);
  connect(young, "young", 600, uint64_t{1} << 62);
  copy_all();
  CHECK(old.received().size() == 1);
  CHECK(young.received().size() == 1);
  gateway.send(FrameType::life, number(6) + text("a.2"));  // Redis has lost everything
  frames();
  CHECK_FALSE(old.closed);
  gateway.send(FrameType::life, number(6) + text("a.3"));
  frames();
  CHECK(old.closed);
  CHECK_FALSE(young.closed);
}

// What the host had accepted before its death may be routed again by who has gone on with it.
TEST_CASE_FIXTURE(Fixture, "host_life: in another life only those who stay have got what came before") {
  const auto send = [&](uint64_t sequence) {
    gateway.send(FrameType::publish,
                 number(2 | 32, 1) + number(1, 2) + number(0, 2) + number(sequence) + number(77) +
                     number(uint64_t{1} << 63 | 3) + "\"t\" \"x\"",
                 bus::kWantStored);
    copy_all();
  };
  const auto join = [&](BrokerClient& client, const std::string& id, uint64_t epoch) {
    connect(client, id, 600, epoch);
    copy_all();
    client.subscribe("t", 2);
    copy_all();
    client.received();
  };
  gateway.send(FrameType::recovered);
  gateway.send(FrameType::life, number(5) + text("a.1"));
  frames();
  whole();
  BrokerClient old(world, 0);
  join(old, "old", 1);
  BrokerClient young(world, 0);
  join(young, "young", uint64_t{1} << 62);
  send(1);
  CHECK(old.received().size() == 1);
  CHECK(young.received().size() == 1);
  gateway.send(FrameType::life, number(5) + text("a.2"));
  copy_all();
  BrokerClient back(world, 0);
  join(back, "back", (uint64_t{1} << 62) + 1);
  send(2);
  CHECK(young.received().empty());
  CHECK(back.received().size() == 1);
  send(3);
  CHECK(back.received().empty());
}

namespace {

// A host that had a will's session and another when it died, and stands again without Redis.
struct Risen : Fixture {
  Risen() {
    gateway.send(FrameType::life, number(5) + text("a.1"));
    frames();
    whole();
    BrokerClient watcher(world, 0);
    connect(watcher, "watcher", 600, 9);
    copy_all();
    watcher.subscribe("will", 1);
    copy_all();
    BrokerClient client(world, 0);
    client.connect("brief", {.clean = true, .will = "will"});
    steps();
    gateway.send(FrameType::cluster_granted, number(10) + "00" + text("brief"));
    copy_all();
    REQUIRE(client.received().size() == 1);
    world.pass(2000);
    copy_all();
    world.kill(0);
    world.unsure_until_us = 11;
    world.start(0);
    again.emplace(world, 1, 8);
  }
  Lines answers(BrokerClient& client, const std::string& id) {
    again->run();
    again->send(FrameType::cluster_granted, number(0) + "02" + text(id));  // Redis is not there
    again->run();
    return client.received();
  }

  std::optional<ScriptedPeer> again;
};

}  // namespace

TEST_CASE_FIXTURE(Risen, "host_life: a host that may have gone on elsewhere resumes nothing, and fires no will") {
  again->send(FrameType::sync_end);
  REQUIRE(again->run());
  CHECK(world.gauge(0, metrics::Gauge::sessions_unsure) == 2);
  BrokerClient watcher(world, 0);
  watcher.connect("watcher", {.clean = false, .expiry = 600});
  const Lines refused = answers(watcher, "watcher");
  REQUIRE(refused.size() == 1);
  CHECK(refused[0] == R"(CONNACK "Server unavailable")");
  BrokerClient brief(world, 0);
  brief.connect("brief", {.clean = true});
  CHECK(answers(brief, "brief").size() == 1);
  CHECK(stored(store::Kind::accepted) == 1);
  CHECK(stored(store::Kind::delivery) == 0);
  SUBCASE("it has not: what waited goes on") {
    BrokerClient later(world, 0);
    later.connect("later", {.clean = true, .will = "will"});
    CHECK(answers(later, "later").size() == 1);
    later.drop();
    REQUIRE(again->run());
    CHECK(stored(store::Kind::delivery) == 1);
    again->send(FrameType::life, number(5) + text("a.1"));
    REQUIRE(again->run());
    CHECK(stored(store::Kind::delivery) == 2);
    CHECK(world.gauge(0, metrics::Gauge::sessions_unsure) == 0);
  }
  SUBCASE("it has: its will has fired there") {
    again->send(FrameType::life, number(5) + text("a.2"));
    REQUIRE(again->run());
    CHECK(stored(store::Kind::delivery) == 0);
  }
  CHECK(stored(store::Kind::accepted) == 0);
}

TEST_CASE_FIXTURE(Fixture, "strays: what a session got while no copy was kept goes after it") {
  gateway.send(FrameType::life, number(5) + text("a.1"));
  frames();
  whole();
  BrokerClient pub(world, 0);
  connect(pub, "pub", 0, 8);
  BrokerClient away(world, 0);
  connect(away, "away", 600, 9);
  copy_all();
  away.subscribe("t", 1);
  copy_all();
  away.disconnect();
  pub.publish("t", "before", 1);
  copy_all();
  gateway.send(FrameType::copy_state, "00");
  frames();
  pub.publish("t", "x", 1);
  frames();
  gateway.send(FrameType::life, number(5) + text("a.2"));
  const Lines sent = frames();
  const std::string stray = ScriptedPeer::frame(FrameType::stray, text("away") + "01 00", kAckSoon);
  Lines strays;
  std::copy_if(sent.begin(), sent.end(), std::back_inserter(strays),
               [&](const std::string& line) { return line.starts_with(stray); });
  REQUIRE(strays.size() == 1);
  CHECK(strays[0].ends_with("78"));  // x
}

namespace {

// A message of a group whose members are on other hosts is stored here while the copy is whole, and on its way.
struct OnItsWay : Fixture {
  OnItsWay() {
    gateway.send(FrameType::recovered);
    gateway.send(FrameType::life, number(5) + text("a.1"));
    far_member(gateway);
    frames();
    whole();
    connect(pub, "pub", 600, 9);
    copy_all();
    pub.publish("t", "x", 2);
    copy_all();
    REQUIRE(stored(store::Kind::outbox) == 1);
  }
  static void far_member(ScriptedPeer& to) {
    to.send(FrameType::share, number(0, 4) + number(1, 4) + text("g") + text("t"));
  }
  // With another gateway, which says nothing yet.
  void replace(uint64_t incarnation) {
    world.kill(0);
    world.start(0);
    again.emplace(world, 1, incarnation);
    far_member(*again);
    again->send(FrameType::sync_end);
    REQUIRE(again->run());
    again->frames();
  }
  // How often it asks where a message is to go when it has heard which life this is.
  int64_t asks(const std::string& life) {
    again->send(FrameType::recovered);
    again->send(FrameType::life, number(5) + text(life));
    REQUIRE(again->run());
    const Lines lines = again->frames();
    const std::string asks = ScriptedPeer::frame(FrameType::shared_where, "");
    return std::ranges::count_if(
        lines, [&](const std::string& line) { return line.starts_with(asks.substr(0, asks.find_first_of("!"))); });
  }

  BrokerClient pub{world, 0};
  std::optional<ScriptedPeer> again;
};

}  // namespace

TEST_CASE_FIXTURE(OnItsWay, "host_life: a group's message that was copied is another host's, if that goes on") {
  world.unsure_until_us = 11;
  SUBCASE("the host rises") {
    replace(8);
  }
  SUBCASE("and its worker is replaced before it is known") {
    replace(8);
    replace(9);
  }
  SUBCASE("at once, and a while later") {
    replace(8);
    world.pass(2000);
    REQUIRE(again->run());
    replace(9);
  }
  CHECK(asks("a.2") == 0);
  CHECK(stored(store::Kind::outbox) == 0);
}

TEST_CASE_FIXTURE(OnItsWay, "host_life: ... and goes on here if it does not") {
  world.unsure_until_us = 11;
  replace(8);
  replace(9);
  CHECK(asks("a.1") == 1);
  CHECK(stored(store::Kind::outbox) == 1);
}

TEST_CASE_FIXTURE(OnItsWay, "host_life: what was accepted after the copy goes on here in any case") {
  gateway.send(FrameType::copy_state, "00");
  frames();
  pub.publish("t", "y", 2);
  frames();
  REQUIRE(stored(store::Kind::outbox) == 2);
  world.unsure_until_us = 11;
  replace(8);
  replace(9);
  CHECK(asks("a.2") == 1);
  CHECK(stored(store::Kind::outbox) == 1);
}

TEST_CASE_FIXTURE(OnItsWay,
                  "host_life: what waits for the gateway that has gone is given up in a process that lives on") {
  world.announce();
  world[0].peer_disconnected(gateway.id);
  world[0].peer_gone(gateway.id);
  world.run();
  again.emplace(world, 1, 8);
  far_member(*again);
  CHECK(asks("a.2") == 0);
  CHECK(stored(store::Kind::outbox) == 0);
}

TEST_CASE_FIXTURE(OnItsWay, "host_life: who is replaced at once knows that what it stores has not been copied") {
  world.unsure_until_us = 11;
  replace(8);
  world.pass(10);
  BrokerClient late(world, 0);
  late.connect("late", {.clean = true, .expiry = 600});
  again->run();
  again->send(FrameType::cluster_granted, number(0) + "02" + text("late"));
  again->run();
  REQUIRE(late.received().size() == 1);
  replace(9);
  asks("a.2");
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 1);
}
