// The order of a topic's changes in a cluster, at its home; the test is the gateway.
#include "worker/broker/retained_home.h"

#include "tests/support/broker_world.h"

using bus::FrameType;
using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;
using support::ScriptedPeer;

namespace {

template <typename T>
std::string number(T value) {
  std::string out;
  bus::Writer(out).put<T>(value);
  return out;
}

struct Gateway {
  explicit Gateway(BrokerWorld& world, uint64_t incarnation = 7) : peer(world, 1, incarnation, {world.id(0)}) {
    peer.send(FrameType::sync_end);
    peer.send(FrameType::recovered);
    run();
  }
  void run() {
    CHECK(peer.run());
    for (const std::string& line : peer.frames()) {
      const std::string type = line.substr(0, line.find_first_of("! "));
      for (const FrameType wanted : {FrameType::retain_order, FrameType::retain_offer, FrameType::retain_stored}) {
        if (type == std::to_string(static_cast<int>(wanted))) sent.push_back(line);
      }
      const bool mark = type == std::to_string(static_cast<int>(FrameType::mark));
      if (!mark && type != std::to_string(static_cast<int>(FrameType::cluster_claim))) continue;
      std::string body;
      for (size_t at = line.find(' '); at != line.npos; at = line.find(' ', at + 1)) {
        body += static_cast<char>(std::stoi(line.substr(at + 1, 2), nullptr, 16));
      }
      if (mark) {  // everybody has the route
        peer.send_raw(FrameType::marked, body);
      } else {  // nobody has that client id
        peer.send_raw(FrameType::cluster_granted, body.replace(sizeof(uint64_t), sizeof(uint64_t), 1, '\0'));
      }
      CHECK(peer.run());
    }
  }
  size_t orders() { return count(FrameType::retain_order); }
  size_t offers() { return count(FrameType::retain_offer); }
  void state(bool up, uint64_t floor = 0) { raw(FrameType::retain_state, number<uint8_t>(up) + number(floor)); }
  void ordered(uint64_t version) { raw(FrameType::retain_ordered, number(version)); }
  void offered(uint64_t version) { raw(FrameType::retain_offered, number(version)); }
  void round(bool ends, uint64_t id, uint64_t cluster) {
    raw(FrameType::retain_round, number<uint8_t>(ends) + number(id) + number(cluster));
  }
  void change(const std::string& topic, const std::string& payload, uint64_t version, bool of_snapshot = false) {
    bus::Message::Fields f;
    f.uid = {99, version};
    f.retain = true;
    f.topic = topic;
    f.payload = payload;
    std::string body = number(version) + number<uint8_t>(of_snapshot);
    bus::append_message(body, *bus::Message::make(f), 0);
    raw(FrameType::retain_change, body);
  }
  void raw(FrameType type, const std::string& body) {
    peer.send_raw(type, body);
    run();
  }
  // Of those since the last call.
  size_t count(FrameType type) {
    return static_cast<size_t>(std::erase_if(sent, [type](const std::string& line) {
      return line.starts_with(std::to_string(static_cast<int>(type)) + " ");
    }));
  }

  ScriptedPeer peer;
  Lines sent;
};

struct Fixture {
  Fixture() : gateway(std::make_unique<Gateway>(world)) {}
  void connect() {
    pub.connect("pub");
    turn();
    world.turn(0);
    pub.received();
  }
  void publish(const std::string& payload, int qos = 1) {
    pub.write_publish("t", payload, qos, true);
    turn();
  }
  void turn() {
    world.turn(0);
    gateway->run();
  }
  // What a new subscriber is shown.
  Lines shown(const std::string& filter = "t") {
    BrokerClient sub(world, 0);
    sub.connect("sub" + std::to_string(++subs));
    turn();
    world.turn(0);
    sub.subscribe(filter, 1);
    turn();
    world.turn(0);
    return sub.payloads();
  }
  size_t acks() { return pub.received().size(); }
  store::RetainedRecord stored(const std::string& topic = "t") {
    std::string key;
    store::retained_key(key, topic);
    store::RetainedRecord record;
    const auto it = world.disk(0).find(key);
    if (it != world.disk(0).end()) CHECK(store::decode(it->second, record, {}));
    return record;
  }
  void restart_gateway(uint64_t incarnation) {
    const broker::PeerId old = gateway->peer.id;
    world[0].peer_disconnected(old);
    world.announce();
    world[0].peer_gone(old);
    gateway = std::make_unique<Gateway>(world, incarnation);
  }
  // The worker dies; its successor has its store.
  void restart() {
    gateway.reset();
    pub.closed = true;
    world.kill(0);
    world.start(0);
    gateway = std::make_unique<Gateway>(world);
  }

  BrokerWorld world{1, {.mqtt = {}, .clustered = true}};
  std::unique_ptr<Gateway> gateway;
  BrokerClient pub{world, 0};
  int subs = 0;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "retained_home: a change waits for its place in the order") {
  connect();
  gateway->state(true);
  publish("1");
  CHECK(gateway->orders() == 1);
  CHECK(acks() == 0);
  CHECK(shown().empty());
  gateway->ordered(50);
  CHECK(acks() == 1);
  CHECK(shown() == Lines{"1"});
  CHECK(stored().version == 50);
  CHECK_FALSE(stored().unconfirmed);
}

TEST_CASE_FIXTURE(Fixture, "retained_home: the higher version counts, in whatever order they come") {
  connect();
  gateway->state(true);
  publish("mine");
  gateway->change("t", "newer", 60);
  gateway->ordered(50);
  CHECK(acks() == 1);
  CHECK(shown() == Lines{"newer"});
  gateway->change("t", "older", 55);
  CHECK(shown() == Lines{"newer"});
  gateway->change("t", "", 61);
  CHECK(shown().empty());
  gateway->change("t", "late", 60);  // behind the tombstone
  CHECK(shown().empty());
  CHECK(world.gauge(0, metrics::Gauge::retained_tombstones) == 1);
  CHECK(stored().version == 61);
}

TEST_CASE_FIXTURE(Fixture, "retained_home: without Redis the home orders, and offers it later") {
  connect();
  gateway->state(false, 1'000'000'000'000'000'000);
  publish("1");
  CHECK(gateway->orders() == 0);
  CHECK(acks() == 1);
  CHECK(stored().version > 1'000'000'000'000'000'000);
  CHECK(stored().unconfirmed);
  CHECK(world.gauge(0, metrics::Gauge::retained_unconfirmed) == 1);
  gateway->state(true);
  CHECK(gateway->offers() == 1);
  SUBCASE("Redis has it now") {
    gateway->offered(stored().version);
    CHECK_FALSE(stored().unconfirmed);
    CHECK(world.gauge(0, metrics::Gauge::retained_unconfirmed) == 0);
    CHECK(gateway->offers() == 0);
  }
  SUBCASE("Redis has a newer one, which comes as a change") {
    gateway->offered(stored().version + 5);
    CHECK(stored().unconfirmed);
    gateway->change("t", "theirs", stored().version + 5);
    CHECK(shown() == Lines{"theirs"});
    CHECK_FALSE(stored().unconfirmed);
  }
  SUBCASE("another host's change has the same version: what Redis has counts") {
    gateway->offered(stored().version);
    gateway->change("t", "theirs", stored().version);
    CHECK(shown() == Lines{"theirs"});
  }
  SUBCASE("Redis took nothing: offered again") {
    gateway->offered(0);
    CHECK(stored().unconfirmed);
    world.clock.advance(1000);
    turn();
    CHECK(gateway->offers() == 1);
  }
  SUBCASE("the worker dies first: its successor offers") {
    restart();
    gateway->state(true);
    CHECK(gateway->offers() == 1);
  }
}

TEST_CASE_FIXTURE(Fixture, "retained_home: changes of one publisher keep their order when an answer is lost") {
  connect();
  gateway->state(true);
  publish("1");
  publish("2");
  gateway->ordered(0);
  CHECK(shown() == Lines{"1"});
  gateway->ordered(60);  // below what the first one got without Redis
  CHECK(shown() == Lines{"2"});
  CHECK(stored().unconfirmed);
  CHECK(acks() == 2);
}

TEST_CASE_FIXTURE(Fixture, "retained_home: a change stays behind an earlier one that Redis had without our knowing") {
  connect();
  gateway->state(true);
  publish("");
  gateway->ordered(0);
  gateway->state(false);
  publish("2");
  const uint64_t before = stored().version;
  gateway->state(true);
  gateway->change("t", "", before + 100);
  CHECK(shown() == Lines{"2"});
  CHECK(stored().version > before + 100);
  CHECK(stored().unconfirmed);
  CHECK(gateway->offers() == 3);  // at once, when Redis is back, and now
}

TEST_CASE_FIXTURE(Fixture, "retained_home: changes wait for a gateway's replacement") {
  connect();
  gateway->state(true);
  publish("1");
  CHECK(gateway->orders() == 1);
  restart_gateway(8);
  publish("2");
  CHECK(acks() == 0);
  SUBCASE("Redis is there") {
    gateway->state(true);
    CHECK(gateway->orders() == 2);
    gateway->ordered(50);
    gateway->ordered(51);
    CHECK(acks() == 2);
    CHECK(shown() == Lines{"2"});
    CHECK(stored().version == 51);
  }
  SUBCASE("Redis is away") {
    gateway->state(false);
    CHECK(acks() == 2);
    CHECK(shown() == Lines{"2"});
  }
  SUBCASE("it says nothing for too long") {
    for (int i = 0; i < 5; ++i) {
      world.clock.advance(1000);
      turn();
    }
    CHECK(acks() == 2);
    CHECK(stored().unconfirmed);
  }
}

TEST_CASE_FIXTURE(Fixture, "retained_home: what a snapshot does not have") {
  gateway->state(true);
  gateway->round(false, 1, 5);
  gateway->change("kept", "1", 10, true);
  gateway->change("t", "1", 11, true);
  gateway->round(true, 1, 5);
  CHECK(shown("#").size() == 2);
  SUBCASE("has been deleted, if it is the same cluster") {
    gateway->round(false, 2, 5);
    gateway->change("kept", "1", 10, true);
    gateway->change("new", "1", 12);  // live, meanwhile
    gateway->round(true, 2, 5);
    CHECK(shown("t").empty());
    CHECK(shown("#").size() == 2);
    CHECK_FALSE(stored("t").message);
    CHECK(gateway->offers() == 0);
  }
  SUBCASE("also after a restart") {
    restart();
    gateway->state(true);
    gateway->round(false, 1, 5);
    gateway->round(true, 1, 5);
    CHECK(shown("#").empty());
  }
  SUBCASE("is offered, if Redis has lost it") {
    gateway->round(false, 2, 6);
    gateway->change("kept", "0", 9, true);  // an older state
    gateway->change("t", "0", 8);           // of the way to it
    gateway->round(true, 2, 6);
    CHECK(shown("#").size() == 2);
    CHECK(gateway->offers() == 2);
  }
  SUBCASE("is kept if Redis has not confirmed it") {
    connect();
    gateway->state(false);
    publish("mine");
    gateway->state(true);
    gateway->round(false, 2, 5);
    gateway->round(true, 2, 5);
    CHECK(shown("#") == Lines{"mine"});
  }
}

TEST_CASE_FIXTURE(Fixture, "retained_home: what has come is confirmed when it is stored") {
  gateway->state(true);
  gateway->round(false, 3, 5);
  gateway->change("t", "1", 10, true);
  gateway->change("t", "2", 11);
  gateway->round(true, 3, 5);
  REQUIRE_FALSE(gateway->sent.empty());
  CHECK(gateway->sent.back() ==
        ScriptedPeer::frame_raw(FrameType::retain_stored, number<uint64_t>(2) + number<uint64_t>(3)));
}

TEST_CASE_FIXTURE(Fixture, "retained_home: a message that expires is a deletion with the next version") {
  gateway->state(true);
  bus::Message::Fields f;
  f.uid = {99, 1};
  f.expires_at = world.clock.now_ms() + 500;
  f.topic = "t";
  f.payload = "1";
  std::string body = number<uint64_t>(10) + number<uint8_t>(0);
  bus::append_message(body, *bus::Message::make(f), 0);
  gateway->raw(FrameType::retain_change, body);
  CHECK(shown() == Lines{"1"});
  world.clock.advance(1000);
  turn();
  turn();
  CHECK(stored().version == 11);
  CHECK(stored().message->payload().empty());
  CHECK(gateway->offers() == 1);
  gateway->offered(11);
  world.clock.advance(broker::RetainedHome::kTombstoneMs + 1000);
  turn();
  CHECK_FALSE(stored().message);
  CHECK(world.gauge(0, metrics::Gauge::retained_tombstones) == 0);
}

TEST_CASE_FIXTURE(Fixture, "retained_home: the bytes of an order and of an offer") {
  connect();
  gateway->state(true);
  const auto message = [&](uint64_t sequence) {
    std::string body;
    bus::Message::Fields f;
    f.uid = {world.id(0).incarnation, sequence};
    f.qos = proto::QoS::at_least_once;
    f.retain = true;
    f.topic = "t";
    f.publisher = "pub";
    f.payload = "1";
    bus::append_message(body, *bus::Message::make(f), 0);
    return body;
  };
  gateway->sent.clear();
  publish("1");
  CHECK(gateway->sent ==
        Lines{ScriptedPeer::frame_raw(FrameType::retain_order, number<uint64_t>(world.clock.wall_us()) + message(1))});
  gateway->sent.clear();
  gateway->ordered(0);
  CHECK(gateway->sent ==
        Lines{ScriptedPeer::frame_raw(FrameType::retain_offer, number<uint64_t>(stored().version) + message(1))});
}

TEST_CASE_FIXTURE(Fixture, "retained_home: frames that are none") {
  gateway->state(true);
  const auto refuses = [&](FrameType type, const std::string& body) {
    gateway->peer.send_raw(type, body);
    CHECK_FALSE(gateway->peer.run());
  };
  SUBCASE("an answer to nothing") {
    refuses(FrameType::retain_ordered, number<uint64_t>(1));
  }
  SUBCASE("the same, to an offer") {
    refuses(FrameType::retain_offered, number<uint64_t>(1));
  }
  SUBCASE("half a state") {
    refuses(FrameType::retain_state, number<uint8_t>(1));
  }
  SUBCASE("a round without end or beginning") {
    refuses(FrameType::retain_round, number<uint8_t>(3) + number<uint64_t>(1) + number<uint64_t>(1));
  }
  SUBCASE("what only the gateway is asked") {
    refuses(FrameType::retain_stored, number<uint64_t>(1) + number<uint64_t>(1));
  }
}

TEST_CASE("retained_home: a host of its own gives versions, and forgets what is deleted") {
  BrokerWorld world(1);
  BrokerClient pub(world, 0);
  pub.connect("pub");
  pub.publish("t", "1", 1, true);
  std::string key;
  store::retained_key(key, "t");
  store::RetainedRecord record;
  REQUIRE(store::decode(world.disk(0).at(key), record, {}));
  CHECK(record.version >= world.clock.wall_us());
  CHECK(record.unconfirmed);
  pub.publish("t", "", 1, true);
  CHECK_FALSE(world.disk(0).contains(key));
  CHECK(world.gauge(0, metrics::Gauge::retained_tombstones) == 0);
}
