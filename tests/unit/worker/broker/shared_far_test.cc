// Shared groups over hosts at a worker: the test is the gateway. The bytes of its frames: a change needs a new
// kBusVersion.
#include <algorithm>
#include <optional>
#include <vector>

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

constexpr uint64_t kIncarnation = 101;  // worker 0's

std::string message(uint64_t origin, uint64_t sequence, int qos) {
  return number(origin) + number(sequence) + number(0) + number(1, 4) + number(0, 4) + number(0, 4) + number(1, 2) +
         number(3, 2) + number(static_cast<uint64_t>(qos), 1) + number(0, 1) + "\"t\" \"pub\" \"x\"";
}
const std::string kGroup = text("g") + text("t");

// Worker 0 is the host's only one; slot 1 is its gateway.
struct Fixture {
  BrokerWorld world{1, {.mqtt = {}, .clustered = true}};
  ScriptedPeer gateway{world};

  Fixture() {
    gateway.send(FrameType::sync_end);
    REQUIRE(gateway.run());
  }
  Lines frames() {
    REQUIRE(gateway.run());
    return gateway.frames();
  }
  void connect(BrokerClient& client, const std::string& id) {
    client.connect(id);
    frames();
    gateway.send(FrameType::cluster_granted, number(9) + "00" + text(id));
    frames();
    REQUIRE(client.received().size() == 1);
  }
  void far_members(uint32_t live) {
    gateway.send(FrameType::share, number(live, 4) + number(0, 4) + kGroup);
    frames();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "shared_far: a QoS 1 message is left to the gateway, and acknowledged when it is accepted") {
  BrokerClient pub(world, 0);
  connect(pub, "pub");
  far_members(1);
  pub.publish("t", "x", 1);
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_publish,
                                              number(1) + kGroup + message(kIncarnation, 1, 1), kAckSoon)});
  CHECK(pub.received().empty());
  gateway.send(FrameType::shared_result, number(1) + "01");
  frames();
  CHECK(pub.received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "shared_far: a QoS 2 message is sent to the host that the gateway has named") {
  BrokerClient pub(world, 0);
  connect(pub, "pub");
  far_members(1);
  pub.publish("t", "x", 2);
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_where, number(1) + kGroup + text("pub"), kAckSoon)});
  gateway.send(FrameType::shared_there, number(1) + text("y.1"));
  CHECK(frames() ==
        Lines{ScriptedPeer::frame(FrameType::shared_at,
                                  number(2) + "00" + text("y.1") + kGroup + message(kIncarnation, 1, 2), kAckSoon)});
  CHECK(pub.received().empty());
  gateway.send(FrameType::shared_result, number(2) + "01");
  frames();
  CHECK(pub.received().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "shared_far: a member here gets what other hosts refuse") {
  BrokerClient pub(world, 0), member(world, 0);
  connect(pub, "pub");
  connect(member, "member");
  far_members(50);
  member.subscribe("$share/g/t", 2);
  frames();
  pub.publish("t", "x", 2);
  if (frames().size() == 1) gateway.send(FrameType::shared_there, number(1) + text(""));
  frames();
  CHECK(member.payloads() == Lines{"x"});
}

TEST_CASE_FIXTURE(Fixture, "shared_far: a member whose session is not stored gets QoS 2 when the gateway says go") {
  BrokerClient member(world, 0);
  connect(member, "member");
  member.subscribe("$share/g/t", 2);
  frames();
  member.received();
  const std::string same = number(77) + number(5) + kGroup;
  gateway.send(FrameType::shared_known, number(1) + same);
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_result, number(1) + "00")});
  gateway.send(FrameType::shared_publish, number(2) + kGroup + message(77, 5, 2));
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_result, number(2) + "02")});
  CHECK(member.payloads().empty());
  gateway.send(FrameType::shared_known, number(3) + same);
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_result, number(3) + "02")});
  gateway.send(FrameType::shared_go, same);
  frames();
  CHECK(member.payloads() == Lines{"x"});
  gateway.send(FrameType::shared_known, number(4) + same);
  CHECK(frames() == Lines{ScriptedPeer::frame(FrameType::shared_result, number(4) + "01")});
}

TEST_CASE("shared_far: a stored message of a group waits until the gateway has told of its members") {
  BrokerWorld world{2, {.mqtt = {}, .clustered = true}};
  std::optional<ScriptedPeer> gateway;
  gateway.emplace(world, 2, 7, std::vector<broker::PeerId>{world.id(1)});
  const auto frames = [&] {
    REQUIRE(gateway->run());
    return gateway->frames();
  };
  gateway->send(FrameType::sync_end);
  frames();
  gateway->send(FrameType::share, number(0, 4) + number(1, 4) + kGroup);
  frames();
  BrokerClient pub(world, 0);
  const std::string id = world.at_home(0, "pub");
  pub.connect(id, {.clean = false, .expiry = 600});
  frames();
  gateway->send(FrameType::cluster_granted, number(9) + "00" + text(id));
  frames();
  pub.publish("t", "x", 2);
  const std::string asked = ScriptedPeer::frame(FrameType::shared_where, number(1) + kGroup + text(id), kAckSoon);
  CHECK(std::ranges::count(frames(), asked) == 1);
  world.kill(0);
  world.start(0);
  gateway.emplace(world, 2, 8, std::vector<broker::PeerId>{world.id(1)});
  world.run();  // the other worker has told everything
  CHECK(std::ranges::count(frames(), asked) == 0);
  gateway->send(FrameType::share, number(0, 4) + number(1, 4) + kGroup);
  gateway->send(FrameType::sync_end);
  CHECK(std::ranges::count(frames(), asked) == 1);
}
