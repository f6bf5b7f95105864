// The bytes of the frames between workers, as a broker makes them: a change here needs a new kBusVersion.
// (The frame's head and `ack` are link_test's, `publish` is publish_frame_test's.)
#include <doctest/doctest.h>

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

constexpr uint64_t kIncarnation = 101;                // worker 0's
const std::string kPlain = "01 0000000000000000 ";    // a claim that begins anew, and is not another host's
constexpr const char* kEpoch = " 000ab953240a0600 ";  // of the first grant: the wall clock in microseconds

std::string frame(FrameType type, const std::string& dialect, uint8_t flags = 0) {
  return ScriptedPeer::frame(type, dialect, flags);
}

// A message of worker 0, as message_codec_test has it.
std::string message(uint64_t sequence, int qos, const std::string& topic, const std::string& publisher,
                    const std::string& payload, int flags = 0) {
  const std::string never = number(0), no_properties = number(0, 4), no_attachment = number(0, 4);
  return number(kIncarnation) + number(sequence) + never + number(payload.size(), 4) + no_properties + no_attachment +
         number(topic.size(), 2) + number(publisher.size(), 2) + number(static_cast<uint64_t>(qos), 1) +
         number(static_cast<uint64_t>(flags), 1) + '"' + topic + "\" \"" + publisher + "\" \"" + payload + '"';
}

// As publish_frame_test has it: a message of the worker that sends it.
std::string publish(uint64_t sequence, int qos, const std::string& topic, const std::string& publisher,
                    const std::string& payload) {
  return number(static_cast<uint64_t>(qos), 1) + number(topic.size(), 2) + number(publisher.size(), 2) +
         number(sequence) + '"' + topic + "\" \"" + publisher + "\" \"" + payload + '"';
}

// Worker 0 of two is real; the test is worker 1.
struct Fixture {
  BrokerWorld world;
  ScriptedPeer peer;

  explicit Fixture(uint32_t workers = 2) : world(workers, {.mqtt = {}, .started = 1}), peer(world) {
    peer.send(FrameType::sync_end);
    REQUIRE(peer.run());
    peer.frames();
  }
  std::string here(const std::string& prefix) const { return world.at_home(0, prefix); }
  std::string there(const std::string& prefix) const { return world.at_home(1, prefix); }
  Lines frames() {
    REQUIRE(peer.run());
    return peer.frames();
  }
};

}  // namespace

TEST_CASE("frames: what a new peer is told first") {
  BrokerWorld world(2, {.mqtt = {}, .started = 1});
  ScriptedPeer peer(world);
  REQUIRE(peer.run());
  CHECK(peer.frames() == Lines{frame(FrameType::sync_end, "", kAckSoon)});
}

TEST_CASE_FIXTURE(Fixture, "frames: route") {
  BrokerClient passing(world, 0), lasting(world, 0);
  passing.connect(here("a"));
  lasting.connect(here("b"), {.clean = true, .expiry = 60});
  frames();
  const std::string t = here("t");
  passing.subscribe(t);
  CHECK(frames() == Lines{frame(FrameType::route, "01 00" + text(t), kAckSoon)});
  lasting.subscribe(t);
  CHECK(frames() == Lines{frame(FrameType::route, "01 01" + text(t), kAckSoon)});
  lasting.unsubscribe(t);
  CHECK(frames().empty());
  passing.unsubscribe(t);
  CHECK(frames() == Lines{frame(FrameType::route, "00 00" + text(t))});
}

TEST_CASE_FIXTURE(Fixture, "frames: share") {
  BrokerClient one(world, 0), two(world, 0);
  one.connect(here("a"));
  two.connect(here("b"), {.clean = true, .expiry = 60});
  frames();
  one.subscribe("$share/g/t");
  CHECK(frames() == Lines{frame(FrameType::share, "01000000 00000000" + text("g") + text("t"), kAckSoon)});
  two.subscribe("$share/g/t");
  CHECK(frames() == Lines{frame(FrameType::share, "02000000 00000000" + text("g") + text("t"), kAckSoon)});
  two.drop();
  CHECK(frames() == Lines{frame(FrameType::share, "01000000 01000000" + text("g") + text("t"), kAckSoon)});
}

TEST_CASE_FIXTURE(Fixture, "frames: claim, grant, held and release, as the claimant has them") {
  const std::string id = there("c");
  BrokerClient client(world, 0);
  client.connect(id);
  CHECK(frames() == Lines{frame(FrameType::claim, "0100000000000000 " + kPlain + text(id), kAckSoon)});
  peer.send(FrameType::grant, "0100000000000000 0900000000000000 00 00000000 0000000000000000");
  CHECK(frames() == Lines{frame(FrameType::held, "0100000000000000 00" + text(id))});
  CHECK(client.received().size() == 1);
  client.disconnect();
  CHECK(frames() == Lines{frame(FrameType::release, "0900000000000000" + text(id))});
}

TEST_CASE_FIXTURE(Fixture, "frames: held says what became of the claim") {
  const std::string id = there("c");
  BrokerClient client(world, 0);
  client.connect(id);
  client.drop();
  frames();
  peer.send(FrameType::grant, "0100000000000000 0900000000000000 00 00000000 0000000000000000");
  CHECK(frames() == Lines{frame(FrameType::held, "0100000000000000 03" + text(id))});
}

TEST_CASE_FIXTURE(Fixture, "frames: superseded, to the claimant") {
  BrokerClient client(world, 0);
  client.connect(there("c"));
  frames();
  peer.send(FrameType::superseded, "0100000000000000");
  REQUIRE(peer.run());
  CHECK(client.closed);
}

TEST_CASE_FIXTURE(Fixture, "frames: claim, grant and superseded, as the home has them") {
  const std::string id = here("c");
  peer.send(FrameType::claim, "0500000000000000 " + kPlain + text(id));
  CHECK(frames() == Lines{frame(FrameType::grant,
                                std::string("0500000000000000") + kEpoch + "00 00000000 0000000000000000", kAckSoon)});
  peer.send(FrameType::claim, "0600000000000000 " + kPlain + text(id));
  peer.send(FrameType::claim, "0700000000000000 " + kPlain + text(id));
  CHECK(frames().empty());
  peer.send(FrameType::held, "0500000000000000 03" + text(id));  // its client had gone
  CHECK(frames().size() == 1);
  peer.send(FrameType::held, "0700000000000000 00" + text(id));
  CHECK(frames() == Lines{frame(FrameType::superseded, "0600000000000000", kAckSoon)});
  peer.send(FrameType::claim, "0800000000000000 " + kPlain + text(id));
  const Lines granted = frames();
  REQUIRE(granted.size() == 1);
  const std::string holder = frame(FrameType::grant, "01 01000000 0700000000000000").substr(2);
  CHECK(granted[0].ends_with(holder));
}

TEST_CASE_FIXTURE(Fixture, "frames: holding, what a new home is told") {
  const std::string id = there("c");
  BrokerClient client(world, 0);
  client.connect(id);
  peer.send(FrameType::grant, "0100000000000000 0900000000000000 00 00000000 0000000000000000");
  REQUIRE(peer.run());
  world.announce();
  world[0].peer_gone(peer.id);
  ScriptedPeer next(world, 1, 8);
  REQUIRE(next.run());
  CHECK(next.frames() == Lines{frame(FrameType::holding, "0900000000000000 0000000000000000" + text(id)),
                               frame(FrameType::recovered, "", kAckSoon), frame(FrameType::sync_end, "", kAckSoon)});
}

TEST_CASE_FIXTURE(Fixture, "frames: retain_query and retain_cancel, to a topic's home") {
  BrokerClient client(world, 0);
  client.connect(here("c"));
  const std::string topic = there("t");
  frames();
  client.subscribe(topic);
  CHECK(frames() == Lines{frame(FrameType::route, "01 00" + text(topic), kAckSoon),
                          frame(FrameType::retain_query, "0100000000000000 0000100000000000" + text(topic))});
  client.unsubscribe(topic);
  CHECK(frames() ==
        Lines{frame(FrameType::route, "00 00" + text(topic)), frame(FrameType::retain_cancel, "0100000000000000")});
}

TEST_CASE_FIXTURE(Fixture, "frames: retain_credit, when half of it is used up") {
  BrokerClient client(world, 0);
  client.connect(here("c"));
  client.subscribe("#");
  frames();
  bus::Message::Fields fields;
  const std::string payload(200'000, 'x');
  fields.topic = "t";
  fields.payload = payload;
  fields.retain = true;
  const bus::MessageRef message = bus::Message::make(fields);
  for (int i = 0; i < 3; ++i) peer.send(FrameType::retain_item, "0100000000000000", *message);
  uint64_t taken = 3 * message->footprint();
  std::string bytes = ScriptedPeer::bytes("0100000000000000");
  for (int i = 0; i < 8; ++i, taken >>= 8) bytes += static_cast<char>(taken);
  CHECK(frames() == Lines{ScriptedPeer::frame_raw(FrameType::retain_credit, bytes)});
}

TEST_CASE_FIXTURE(Fixture, "frames: retain_end, behind what a filter matches") {
  peer.send(FrameType::retain_query, "0400000000000000 0000100000000000" + text("none"));
  CHECK(frames() == Lines{frame(FrameType::retain_end, "0400000000000000")});
}

TEST_CASE("frames: departed, asked and answered") {
  Fixture f(3);
  const broker::PeerId gone = f.peer.id;
  f.world.announce({gone, {2, 9}});
  ScriptedPeer other(f.world, 2, 9, {gone});
  other.send(FrameType::sync_end);
  REQUIRE(other.run());
  REQUIRE(f.peer.run());  // it has read what there is
  REQUIRE(other.run());
  other.frames();
  f.world.announce({other.id});
  f.world[0].peer_gone(gone);
  REQUIRE(other.run());
  CHECK(other.frames() == Lines{frame(FrameType::departed, "01000000 0700000000000000 01", kAckSoon)});
  other.send(FrameType::departed, "01000000 0700000000000000 01");
  REQUIRE(other.run());
  CHECK(other.frames() == Lines{frame(FrameType::departed, "01000000 0700000000000000 00", kAckSoon)});
}

// --- takeover, see takeovers.h ---

TEST_CASE_FIXTURE(Fixture, "frames: pull, cut_request, cut and freeze, as the new owner has them") {
  const std::string id = there("c"), t = here("t");
  BrokerClient client(world, 0);
  client.connect(id, {.clean = false, .expiry = 60});
  frames();
  peer.send(FrameType::recovered);
  peer.send(FrameType::grant, number(1) + number(9) + "01" + number(1, 4) + number(7));
  CHECK(frames() == Lines{frame(FrameType::pull, number(1) + number(9) + "00" + text(id), kAckSoon)});
  // 60 s; one subscription: QoS 1, no identifier; no shared one
  peer.send(FrameType::state_begin,
            number(1) + "01" + number(60, 4) + number(1, 4) + "01 00 00 00" + number(0, 4) + text(t) + number(0, 4));
  CHECK(frames() == Lines{frame(FrameType::route, "01 01" + text(t), kAckSoon),
                          frame(FrameType::cut_request, number(1) + number(1, 4) + number(7), kAckSoon),
                          frame(FrameType::cut, number(kIncarnation) + number(1), kAckSoon)});
  peer.send(FrameType::cut_sent, number(1) + number(7) + "01");
  CHECK(frames() ==
        Lines{frame(FrameType::freeze, number(1) + number(2, 2) + number(7) + number(kIncarnation), kAckSoon)});
  // In flight with packet id 5, at QoS 1; next packet id 6; no packet ids of QoS 2, nothing seen.
  peer.send(FrameType::state_delivery,
            number(1) + "00" + number(5, 2) + "01 00" + number(0, 2) + message(3, 1, t, "me", "hi"));
  peer.send(FrameType::state_end, number(1) + number(6, 2) + number(0, 4) + number(0, 4) + number(0, 4));
  CHECK(frames() == Lines{frame(FrameType::held, number(1) + "00" + text(id))});
  CHECK(client.payloads() == Lines{"hi"});
}

TEST_CASE_FIXTURE(Fixture, "frames: state_begin, state_delivery, state_end, as the old owner has them") {
  const std::string id = here("c"), t = here("t");
  BrokerClient client(world, 0), pub(world, 0);
  client.connect(id, {.clean = false, .expiry = 60});
  client.subscribe(t, 1);
  client.subscribe("$share/g/" + t, 1);
  client.unsubscribe("$share/g/" + t);
  client.drop();
  pub.connect(here("pub"));
  pub.publish(t, "hi", 1);
  peer.send(FrameType::recovered);
  frames();
  peer.send(FrameType::pull, number(5) + number(uint64_t{1} << 60) + "00" + text(id));
  CHECK(frames() == Lines{frame(FrameType::state_begin,
                                number(5) + "01" + number(60, 4) + number(1, 4) + "01 00 00 00" + number(0, 4) +
                                    text(t) + number(0, 4),
                                kAckSoon)});
  peer.send(FrameType::cut, number(7) + number(5));
  peer.send(FrameType::cut_request, number(5) + number(0, 4) + number(kIncarnation));
  CHECK(frames() == Lines{frame(FrameType::cut_sent, number(5) + number(kIncarnation) + "01", kAckSoon)});
  peer.send(FrameType::freeze, number(5) + number(2, 2) + number(7) + number(kIncarnation));
  const std::string queued = number(5) + "02" + number(0, 2) + "01 00" + number(0, 2);
  const std::string seen = number(1, 4) + number(kIncarnation) + number(1);
  CHECK(frames() ==
        Lines{frame(FrameType::state_delivery, queued + message(1, 1, t, here("pub"), "hi")),
              frame(FrameType::state_end, number(5) + number(1, 2) + number(0, 4) + seen + number(0, 4), kAckSoon)});
}

TEST_CASE("frames: state_end tells of a bounded number of dead workers") {
  BrokerWorld world(2, {.mqtt = {}, .started = 1});
  const std::string id = world.at_home(0, "c");
  const auto end_of_state = [&](uint64_t incarnation) {
    world.announce();
    ScriptedPeer peer(world, 1, incarnation);
    peer.send(FrameType::sync_end);
    peer.send(FrameType::recovered);
    REQUIRE(peer.run());
    if (incarnation == 7) {
      BrokerClient client(world, 0);
      client.connect(id, {.clean = false, .expiry = 600});
    }
    peer.send(FrameType::publish, publish(1, 0, "t", "", ""));
    peer.send(FrameType::pull, number(1) + number(uint64_t{1} << 60) + "00" + text(id));
    peer.send(FrameType::freeze, number(1) + number(0, 2));
    REQUIRE(peer.run());
    const std::string last = peer.frames().back();
    world[0].peer_gone(peer.id);
    world.run();
    return last.size();
  };
  for (uint64_t incarnation = 7; incarnation < 107; ++incarnation) end_of_state(incarnation);
  CHECK(end_of_state(107) == end_of_state(108));
}

TEST_CASE_FIXTURE(Fixture, "frames: stale, to who held the session before") {
  const std::string id = here("c");
  peer.send(FrameType::recovered);
  peer.send(FrameType::claim, number(5) + " " + kPlain + text(id));
  peer.send(FrameType::held, number(5) + "00" + text(id));
  frames();
  BrokerClient client(world, 0);
  client.connect(id);
  const std::string epoch = number(0x0006'0A24'53B9'0A00 + 1);
  CHECK(frames() == Lines{frame(FrameType::pull, number(1) + epoch + "01" + text(id), kAckSoon)});
  peer.send(FrameType::state_begin, number(1) + "00");
  CHECK(frames() == Lines{frame(FrameType::stale, epoch + text(id), kAckSoon)});
}

TEST_CASE_FIXTURE(Fixture, "frames: hang_up, to who has a session that is out of date; hung_up answers it") {
  const std::string id = here("c");
  BrokerClient client(world, 0);
  client.connect(id);
  frames();
  peer.send(FrameType::holding, number(20) + number(0) + text(id));
  CHECK(frames() == Lines{frame(FrameType::hang_up, kEpoch + text(id), kAckSoon),
                          frame(FrameType::stale, kEpoch + text(id), kAckSoon)});
  peer.send(FrameType::hang_up, number(9) + text(id));
  CHECK(frames() == Lines{frame(FrameType::hung_up, text(id), kAckSoon)});
}

TEST_CASE_FIXTURE(Fixture, "frames: release without an epoch answers stale") {
  const std::string id = there("c");
  peer.send(FrameType::stale, number(9) + text(id));
  CHECK(frames() == Lines{frame(FrameType::release, number(0) + text(id))});
}

// --- messages ---

TEST_CASE_FIXTURE(Fixture, "frames: shared_publish and shared_result") {
  BrokerClient pub(world, 0), member(world, 0);
  pub.connect(here("pub"));
  frames();
  peer.send(FrameType::share, number(1, 4) + number(0, 4) + text("g") + text("t"));
  REQUIRE(peer.run());
  pub.publish("t", "hi", 1);
  CHECK(frames() == Lines{frame(FrameType::shared_publish,
                                number(1) + text("g") + text("t") + message(1, 1, "t", here("pub"), "hi"), kAckSoon)});
  member.connect(here("m"));
  member.subscribe("$share/g/t", 1);
  frames();
  peer.send(FrameType::shared_publish, number(6) + text("g") + text("t") + message(2, 1, "t", "me", "one"));
  peer.send(FrameType::shared_publish, number(7) + text("g") + text("u") + message(3, 1, "u", "me", "two"));
  CHECK(frames() ==
        Lines{frame(FrameType::shared_result, number(6) + "01"), frame(FrameType::shared_result, number(7) + "00")});
}

TEST_CASE_FIXTURE(Fixture, "frames: retain_set, to a topic's home") {
  const std::string topic = there("t");
  BrokerClient pub(world, 0);
  pub.connect(here("pub"));
  frames();
  pub.publish(topic, "hi", 1, true);
  CHECK(frames() == Lines{frame(FrameType::retain_set, message(1, 1, topic, here("pub"), "hi", 1), bus::kWantStored)});
}

TEST_CASE_FIXTURE(Fixture, "frames: retain_item, from a topic's home") {
  const std::string topic = here("t");
  BrokerClient pub(world, 0);
  pub.connect(here("pub"));
  pub.publish(topic, "hi", 0, true);
  frames();
  peer.send(FrameType::retain_query, number(4) + number(4096) + text("#"));
  CHECK(frames() == Lines{frame(FrameType::retain_item, number(4) + message(1, 0, topic, here("pub"), "hi", 1)),
                          frame(FrameType::retain_end, number(4))});
}

TEST_CASE_FIXTURE(Fixture, "frames: stored, for each message of which that was asked, by its count") {
  BrokerClient lasting(world, 0);
  lasting.connect(here("c"), {.clean = true, .expiry = 60});
  lasting.subscribe("t", 1);
  frames();
  peer.send(FrameType::recovered);
  peer.send(FrameType::publish, publish(1, 1, "t", "me", "one"), bus::kWantStored);
  peer.send(FrameType::publish, publish(2, 1, "t", "me", "two"), bus::kWantStored);
  CHECK(frames() == Lines{frame(FrameType::stored, number(0) + number(1))});
}

TEST_CASE("frames: stored, with its highest bit for a retained message that was refused") {
  config::Mqtt mqtt;
  mqtt.max_retained = 2;
  BrokerWorld world(2, {.mqtt = mqtt, .started = 1});
  ScriptedPeer peer(world);
  peer.send(FrameType::sync_end);
  REQUIRE(peer.run());
  peer.frames();
  for (const uint64_t sequence : {1U, 2U}) {
    const std::string topic = world.at_home(0, "t" + std::to_string(sequence) + "/");
    peer.send(FrameType::retain_set, message(sequence, 1, topic, "me", "hi", 1), bus::kWantStored);
    REQUIRE(peer.run());
  }
  CHECK(peer.frames() ==
        Lines{frame(FrameType::stored, number(0)), frame(FrameType::stored, number(1 | bus::kRefused))});
}

TEST_CASE("frames: a body that is a byte short or long is malformed") {
  struct Row {
    FrameType type;
    const char* body;
  };
  const Row rows[] = {
      {FrameType::route, "01 00 0100 \"t\""},
      {FrameType::share, "01000000 00000000 0100 \"g\" 0100 \"t\""},
      {FrameType::grant, "0100000000000000 0900000000000000 00 00000000 0000000000000000"},
      {FrameType::superseded, "0100000000000000"},
      {FrameType::held, "0100000000000000 00 0100 \"c\""},
      {FrameType::release, "0900000000000000 0100 \"c\""},
      {FrameType::holding, "0900000000000000 0000000000000000 0100 \"c\""},
      {FrameType::retain_query, "0100000000000000 0000100000000000 0100 \"t\""},
      {FrameType::retain_end, "0100000000000000"},
      {FrameType::retain_credit, "0100000000000000 0000100000000000"},
      {FrameType::retain_cancel, "0100000000000000"},
      {FrameType::departed, "01000000 0600000000000000 00"},
      {FrameType::pull, "0100000000000000 0900000000000000 00 0100 \"c\""},
      {FrameType::cut_request, "0100000000000000 01000000 0700000000000000"},
      {FrameType::cut, "0700000000000000 0100000000000000"},
      {FrameType::cut_sent, "0100000000000000 0700000000000000 01"},
      {FrameType::freeze, "0100000000000000 0100 0700000000000000"},
      {FrameType::stale, "0900000000000000 0100 \"c\""},
      {FrameType::hang_up, "0900000000000000 0100 \"c\""},
      {FrameType::hung_up, "0100 \"c\""},
      {FrameType::shared_result, "0100000000000000 01"},
  };
  for (const Row& row : rows) {
    CAPTURE(static_cast<int>(row.type));
    for (const int change : {0, -1, 1}) {
      Fixture f;
      std::string body = support::ScriptedPeer::bytes(row.body);
      body.resize(body.size() + static_cast<size_t>(change));
      f.peer.send_raw(row.type, body);
      CHECK(f.peer.run() == (change == 0));
    }
  }
}
