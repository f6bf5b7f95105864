// One live connection per client id on the host, and the session where the client is (contract C7).
#include "worker/broker/claims.h"

#include <optional>

#include "tests/support/broker_world.h"
#include "tests/support/dialect.h"

using support::BrokerClient;
using support::BrokerWorld;
using support::Lines;

namespace {

const Lines kFresh{"CONNACK \"Success\""};
const Lines kResumed{"CONNACK session_present \"Success\""};
const Lines kTakenOver{"DISCONNECT \"Session taken over\""};
constexpr BrokerClient::Terms kLasting{.clean = false, .expiry = 600};

// The client id's home is worker 2 of three.
struct Fixture {
  BrokerWorld world{3};
  const std::string id = world.at_home(2, "c");
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "claims: a connection elsewhere is closed, and the session goes on") {
  BrokerClient first(world, 0), second(world, 1);
  first.connect(id, kLasting);
  CHECK(first.received() == kFresh);
  second.connect(id, kLasting);
  CHECK(first.received() == kTakenOver);
  CHECK(first.closed);
  CHECK(second.received() == kResumed);
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
  CHECK(world.gauge(1, metrics::Gauge::sessions) == 1);
}

TEST_CASE_FIXTURE(Fixture, "claims: a connection at the same worker likewise") {
  BrokerClient first(world, 0), second(world, 0);
  first.connect(id, kLasting);
  first.received();
  second.connect(id, kLasting);
  CHECK(first.received() == kTakenOver);
  CHECK(second.received() == kResumed);
}

TEST_CASE_FIXTURE(Fixture, "claims: a clean start finds nothing, wherever it was") {
  BrokerClient first(world, 0), second(world, 1), pub(world, 2);
  first.connect(id, kLasting);
  first.subscribe("t", 1);
  first.drop();
  second.connect(id);
  CHECK(second.received() == kFresh);
  pub.connect("pub");
  pub.publish("t", "hi", 1);
  CHECK(second.received().empty());
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
}

TEST_CASE_FIXTURE(Fixture, "claims: subscriptions, what waits and what was not acknowledged move along, in order") {
  BrokerClient first(world, 0), pub(world, 2);
  first.connect(id, kLasting);
  first.subscribe("t", 1);
  pub.connect("pub");
  pub.publish("t", "1", 1);
  CHECK(first.payloads() == Lines{"1"});
  first.drop();
  pub.publish("t", "2", 1);
  BrokerClient second(world, 1);
  second.connect(id, kLasting);
  CHECK(second.payloads() == Lines{"1", "2"});
  pub.publish("t", "3", 1);
  CHECK(second.payloads() == Lines{"3"});
}

TEST_CASE_FIXTURE(Fixture, "claims: there and back again") {
  BrokerClient pub(world, 2);
  pub.connect("pub");
  for (int round = 0; round < 6; ++round) {
    BrokerClient client(world, static_cast<uint32_t>(round % 2));
    client.connect(id, kLasting);
    CHECK(client.received() == (round == 0 ? kFresh : kResumed));
    client.subscribe("t", 0);
    client.received();
    pub.publish("t", std::to_string(round));
    CHECK(client.payloads() == Lines{std::to_string(round)});
    client.drop();
  }
}

TEST_CASE_FIXTURE(Fixture, "claims: a CONNECT waits for the client id's home") {
  world.hold(0, 2);
  BrokerClient client(world, 0);
  client.connect(id);
  CHECK(client.received().empty());
  SUBCASE("until it reads") {
    world.hold(0, 2, false);
  }
  SUBCASE("or its replacement does") {
    world.kill(2);
    world.run();
    CHECK(client.received().empty());
    world.start(2);
  }
  world.run();
  CHECK(client.received() == kFresh);
}

TEST_CASE_FIXTURE(Fixture, "claims: of several that wait the newest stays, the others are told") {
  world.hold(2, 0);
  world.hold(2, 1);
  BrokerClient first(world, 0), second(world, 1), third(world, 0);
  first.connect(id);
  second.connect(id);
  third.connect(id);
  world.hold(2, 0, false);
  world.hold(2, 1, false);
  world.run();
  CHECK(third.received() == kFresh);
  CHECK_FALSE(third.closed);
  CHECK(first.closed);
  CHECK(second.closed);
  CHECK(second.received() == Lines{kFresh[0], kTakenOver[0]});
}

TEST_CASE_FIXTURE(Fixture, "claims: who hangs up before the answer leaves the session where it was") {
  BrokerClient owner(world, 0), passer(world, 1);
  owner.connect(id, kLasting);
  owner.received();
  world.hold(2, 1);
  passer.connect(id, kLasting);
  passer.drop();
  world.hold(2, 1, false);
  world.run();
  CHECK_FALSE(owner.closed);
  CHECK(owner.received().empty());
}

TEST_CASE_FIXTURE(Fixture, "claims: a new home is told who has what") {
  BrokerClient owner(world, 0), next(world, 1);
  owner.connect(id, kLasting);
  owner.received();
  world.kill(2);
  world.run();
  world.start(2);
  world.run();
  next.connect(id, kLasting);
  CHECK(owner.received() == kTakenOver);
  CHECK(next.received() == kResumed);
}

TEST_CASE_FIXTURE(Fixture, "claims: the death of the session's worker is no obstacle") {
  BrokerClient owner(world, 0);
  owner.connect(id, kLasting);
  world.kill(0);
  world.run();
  BrokerClient next(world, 1);
  next.connect(id, kLasting);
  world.start(0);
  world.run();
  const Lines answer = next.received();
  REQUIRE(answer.size() == 1);
  CHECK(answer[0].ends_with("\"Success\""));
  CHECK_FALSE(next.closed);
}

// What came with the session from its old owner, and directly as well: its publisher's worker sends it once more.
TEST_CASE("claims: who dies with a session that has just come is not sent twice what came with it") {
  BrokerWorld world(3);
  const std::string id = world.at_home(0, "c");
  BrokerClient first(world, 0), pub(world, 2), second(world, 1);
  pub.connect("pub");
  first.connect(id, kLasting);
  first.subscribe("t", 1);
  first.drop();
  world.hold(2, 1);  // worker 1 asks worker 2 where its stream is cut
  second.connect(id, kLasting);
  pub.publish("t", "hi", 1);
  world.block(1, 2);
  world.hold(2, 1, false);
  world.run();
  CHECK(second.payloads() == Lines{"hi"});
  second.drop();
  world.run();
  world.kill(1);
  world.run();
  world.start(1);
  world.run();
  BrokerClient third(world, 1);
  third.connect(id, kLasting);
  CHECK(third.payloads() == Lines{"hi"});
}

// The test is the gateway.
TEST_CASE("claims: who hangs up while another host is asked for the session leaves it there") {
  using bus::FrameType;
  using support::number;
  using support::ScriptedPeer;
  using support::text;
  BrokerWorld world(1, {.mqtt = {}, .clustered = true});
  ScriptedPeer gateway(world);
  const auto frames = [&] {
    REQUIRE(gateway.run());
    return gateway.frames();
  };
  gateway.send(FrameType::sync_end);
  frames();
  BrokerClient client(world, 0);
  client.connect("c", kLasting);
  frames();
  gateway.send(FrameType::cluster_granted, number(9) + "01" + text("c"));  // elsewhere
  CHECK(frames() ==
        Lines{ScriptedPeer::frame(FrameType::pull, number(1) + number(9) + "00" + text("c"), bus::kAckSoon)});
  client.drop();
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::takeover_abort, number(1), bus::kAckSoon)});
  gateway.send(FrameType::state_begin, number(1) + "00");
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::cluster_held, number(9) + "03" + text("c"))});  // not pulled
  CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
}

TEST_CASE("claims: what the cluster says before this worker is ready counts when it is") {
  using bus::FrameType;
  using support::number;
  using support::ScriptedPeer;
  using support::text;
  BrokerWorld world{1, {.mqtt = {}, .clustered = true}};
  std::optional<ScriptedPeer> gateway;
  gateway.emplace(world);
  gateway->send(FrameType::sync_end);
  gateway->send(FrameType::life, number(5) + text("a.1"));
  REQUIRE(gateway->run());
  BrokerClient client(world, 0);
  client.connect("c", kLasting);
  REQUIRE(gateway->run());
  gateway->send(FrameType::cluster_granted, number(9) + "00" + text("c"));
  REQUIRE(gateway->run());
  CHECK(client.received() == kFresh);
  client.disconnect();
  world.kill(0);
  world.start(0);
  gateway.emplace(world, 1, 8);
  gateway->send(FrameType::life, number(5) + text("a.1"));
  SUBCASE("another host has the session") {
    gateway->send(FrameType::cluster_registered, number(100) + "00" + text("c"));
    gateway->send(FrameType::sync_end);
    REQUIRE(gateway->run());
    CHECK(world.gauge(0, metrics::Gauge::sessions) == 0);
  }
  SUBCASE("it is this host's") {
    gateway->send(FrameType::cluster_registered, number(9) + "01" + text("c"));
    gateway->send(FrameType::sync_end);
    REQUIRE(gateway->run());
    CHECK(world.gauge(0, metrics::Gauge::sessions) == 1);
  }
}
