#include "tests/sim/scenarios.h"

#include "tests/sim/stage.h"

namespace sim {
namespace {

using proto::QoS;

// --- plain traffic ---

void everybody_hears(Simulation& s, uint64_t) {
  Stage stage(s);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("sub", slot), slot, {"t/#", "w/#"});
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("pub", slot), slot);
  for (int round = 0; round < 5; ++round) {
    for (const char* name : {"pub0", "pub1", "pub2"}) stage.publish_all(name, "t/0");
    s.steps(20);
  }
  s.until_quiet();
  stage["sub1"].unsubscribe("t/#");
  stage["pub0"].drop(true);
  stage.publish_all("pub2", "t/1");
}

void retained_everywhere(Simulation& s, uint64_t variant) {
  Stage stage(s);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("pub", slot), slot);
  for (int round = 0; round < 6; ++round) {
    for (uint32_t slot = 0; slot < 3; ++slot) {
      Identity& pub = stage[text("pub", slot)];
      pub.publish(text("r/", slot), static_cast<QoS>((variant + slot) % 3), true, round == 3);
      pub.publish("r/all", QoS::at_least_once, true);
    }
    s.steps(variant % 40);
  }
}

// Whichever worker is the home of a topic: what is acknowledged while it is away must be there when it is back.
void retained_while_a_home_is_away(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub", 0);
  stage.kill(1 + variant % 2);
  s.steps(variant * 3);
  for (int topic = 0; topic < 6; ++topic) stage["pub"].publish(text("r/", topic), QoS::at_least_once, true);
  s.steps(variant % 4 * 20);
}

void worker_of_publisher_dies(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 1, {"t/#"});
  stage.join("pub", 0);
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "t/0");
  s.steps(variant);
  stage.kill(0);
}

// --- takeover ---

void takeover_in_a_stream(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0, {"t/#"}, variant % 2 == 0);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("pub", slot), slot);
  for (uint32_t round = 0; round < 9; ++round) {
    for (uint32_t slot = 0; slot < 3; ++slot) stage.publish_all(text("pub", slot), "t/0");
    if (round % 3 == 1) stage.connect("sub", (round / 3 + 1) % 3);
    s.steps(variant % 50);
  }
}

void chain_of_takeovers(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0, {"t/#"});
  stage.join("pub", 3);
  for (const uint32_t slot : {1U, 2U, 0U, 2U, 0U, 1U}) {
    stage.publish_all("pub", "t/0");
    stage.connect("sub", slot);
    s.steps(5 + variant % 60);
    stage.publish_all("pub", "t/0");
  }
}

// Worker 0 holds, worker 1 takes over; the client id's home is any of the four, by the variant's name.
void takeover_and(Simulation& s, uint64_t variant, const std::function<void(Stage&)>& fault) {
  Stage stage(s);
  const std::string sub = text("sub", variant % 7);
  stage.join(sub, 0, {"t/#"});
  stage.join("pub2", 2);
  stage.join("pub3", 3);
  stage.publish_all("pub2", "t/0");
  stage.publish_all("pub3", "t/0");
  stage.connect(sub, 1);
  s.steps(variant / 8);
  fault(stage);
  stage.publish_all("pub2", "t/1");
  stage.publish_all("pub3", "t/1");
  s.steps(60);
  stage.publish_all("pub2", "t/0");
  stage.publish_all("pub3", "t/0");
}

void takeover_and_a_death(Simulation& s, uint64_t variant) {
  takeover_and(s, variant, [&](Stage& stage) { stage.kill(variant % 4); });
}

void takeover_and_a_cut(Simulation& s, uint64_t variant) {
  takeover_and(s, variant, [&](Stage& stage) { stage.cut(variant % 4, (variant + 1 + variant / 4 % 3) % 4); });
}

void takeover_from_a_stopped_worker(Simulation& s, uint64_t variant) {
  takeover_and(s, variant, [&](Stage& stage) {
    stage.stop(variant % 2 == 0 ? 0 : variant % 4);
    s.steps(200);
    if (variant % 3 == 0) stage.kill(variant % 2 == 0 ? 0 : variant % 4);
  });
}

void takeover_while_a_worker_joins(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.kill(3);
  stage.join("sub", 0, {"t/#"});
  stage.join("pub", 2);
  s.world.start(3);
  s.steps(variant / 2);
  stage.publish_all("pub", "t/0");
  stage.connect("sub", variant % 2 == 0 ? 1 : 2);
  s.steps(10);
  stage.publish_all("pub", "t/0");
  s.until([&] { return s.world.live(3)->ready; }, "joins");
  stage.join("late", 3);
  stage.publish_all("late", "t/0");
  stage.publish_all("pub", "t/1");
}

void racing_connects(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0, {"t/#"}, variant % 3 != 0);
  stage.join("pub", 3);
  for (int round = 0; round < 3; ++round) {
    stage.publish_all("pub", "t/0");
    for (uint32_t slot = 0; slot < 4; ++slot) stage.connect("sub", slot);
    s.steps(variant % 80);
    stage.publish_all("pub", "t/0");
  }
}

// What worker 3 had accepted for the session is lost with it, and comes again from its replacement. The old owner hears
// of that death later than the new one, which has a message from there that was accepted after the lost one.
void takeover_and_a_death_heard_of_late(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const std::string sub = text("sub", variant % 7);
  stage.join(sub, 0, {"t/0"});
  stage.join("other", 1, {"t/1"});
  stage.join("pub", 3);
  s.until_quiet();
  stage.cut(3, 0);
  for (const char* topic : {"t/0", "t/1"}) {
    if (!s.failed()) stage["pub"].publish(topic, QoS::exactly_once);
  }
  s.steps(8 + variant / 4 % 16);
  stage.connect(sub, 1);
  s.steps(variant % 30);
  stage.delay_news(3, 0, 600);
  stage.kill(3);
  s.steps(700);
}

// It ends with its connection to worker 1. Where it came from it is still stored, but is not to rise there.
void a_session_ends_where_it_went(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const std::string sub = text("sub", variant % 5);
  stage.join(sub, 0, {"t/#"});
  stage.join("pub", 2);
  s.until_quiet();
  Process* process = s.world.live(1);
  if (s.failed() || process == nullptr) return;
  stage[sub].connect(*process, {false, false, false});
  s.steps(variant % 80);
  stage.kill(0);
  s.steps(variant / 3);
  stage[sub].drop(true);
  s.steps(60);
  s.world.start(0);
  s.until([&] { return s.world.quiet(); }, "recovers");
  stage.connect(sub, 2);
  s.until([&] { return stage[sub].current() != nullptr; }, "connects");
  stage.publish_all("pub", "t/0");
}

// --- routes ---

void suback_races_a_joining_worker(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0);
  stage.kill(2);
  s.steps(variant % 20);
  s.world.start(2);
  s.steps(variant / 2);
  stage["sub"].subscribe({"t/#"});
  s.until([&] { return s.world.live(2)->ready; }, "joins");
  stage.join("pub", 2);
  stage.publish_all("pub", "t/0");
}

void suback_races_a_publisher(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("sub", 0);
  stage.join("pub", 1);
  stage.hold(1, 0, variant % 2 == 0);
  stage["sub"].subscribe({"t/#"});
  s.steps(variant);
  stage.publish_all("pub", "t/0");
  stage.hold(1, 0, false);
  s.until_quiet();
  stage.publish_all("pub", "t/0");
}

// --- shared groups ---

void shared_group(Simulation& s, uint64_t variant) {
  Stage stage(s);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("member", slot), slot, {"$share/flock/g/+"});
  stage.join("pub", variant % 4);
  for (int i = 0; i < 6; ++i) stage.publish_all("pub", "g/0");
}

void shared_group_and_a_death(Simulation& s, uint64_t variant) {
  Stage stage(s);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("member", slot), slot, {"$share/flock/g/+"});
  stage.join("pub", 3);
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "g/0");
  s.steps(variant / 3);
  stage.kill(variant % 3);
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "g/1");
}

void shared_group_and_a_leaving_member(Simulation& s, uint64_t variant) {
  Stage stage(s);
  for (uint32_t slot = 0; slot < 3; ++slot) stage.join(text("member", slot), slot, {"$share/flock/g/+"});
  stage.join("pub", 3);
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "g/0");
  s.steps(variant / 3);
  Identity& member = stage[text("member", variant % 3)];
  if (variant % 2 == 0) {
    member.drop(true);
  } else {
    stage.connect(member.name(), 3);
  }
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "g/1");
}

// What a member had in flight when it left the group, and loses with its session, is another member's.
void a_session_ends_after_leaving_its_group(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub", 1);
  stage.join("m1", variant % 2, {"$share/flock/g/+"}, false);
  stage.join("m2", 2, {"$share/flock/g/+"});
  stage["m1"].set_paused(true);
  for (int i = 0; i < 4; ++i) stage.publish_all("pub", "g/0");
  s.steps(60);
  stage["m1"].unsubscribe("$share/flock/g/+");
  s.steps(variant);
  stage["m1"].drop(true);
}

// Worker 2 has an offline member and takes nothing for it while it believes that worker 0's member is live.
void shared_group_and_late_news_of_a_death(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("live", 0, {"$share/flock/g/+"});
  stage.join("away", 2, {"$share/flock/g/+"});
  stage["away"].disconnect();
  stage.join("pub", 1);
  s.until_quiet();
  stage.delay_news(0, 2, 4000);
  stage.kill(0);
  for (int i = 0; i < 3; ++i) stage.publish_all("pub", "g/0");
  s.steps(3000);
  if (variant % 2 == 0) s.world.start(0);
  s.steps(400);
}

// The member is done with it when both workers die, and the publisher's has not read that it was taken.
void shared_group_and_a_forgotten_answer(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("pub", 1);
  stage.join("first", 0, {"$share/flock/g/+"}, variant % 2 == 0);
  stage.join("second", 2, {"$share/flock/g/+"});
  stage["second"].disconnect();
  s.until_quiet();
  stage.hold(0, 1, true);
  stage["pub"].publish("g/0", QoS::exactly_once);
  s.steps(100 + variant * 5);
  stage.kill(1);
  s.steps(variant % 10);
  stage.kill(0);
  stage.connect("second", 2);
  s.world.start(0);
  s.world.start(1);
  s.until([&] { return s.world.quiet(); }, "recovers");
}

constexpr const char* kGroup = "$share/flock/g/+";

void publish_to_group(Stage& stage, int n) {
  for (int i = 0; i < n; ++i) stage.publish_all("pub", text("g/", i % 2));
}

// The group's only member, or one of two, goes from worker 0 to worker 1 and is waited for, while there are messages
// for it; and somebody dies.
void shared_group_and_a_moving_member(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("member", 0, {kGroup});
  stage.join("pub", 1 + variant % 3);
  if (variant % 4 == 3) {
    stage.join("away", 3, {kGroup});
    stage["away"].disconnect();
  }
  s.until_quiet();
  stage.hold(3, 0, variant % 2 == 0);
  stage.connect("member", 1);
  s.steps(variant % 60);
  publish_to_group(stage, 2);
  s.steps(20 + variant / 4 % 90);
  stage.hold(3, 0, false);
  s.steps(variant / 8 % 30);
  stage.kill(variant % 5 == 4 ? 1 + variant % 3 : 1);
  publish_to_group(stage, 1);
}

// A message of the group is held, as one before it is, while somebody's death is not known everywhere. The publisher's
// worker dies when it has been placed.
void shared_group_and_what_was_held(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("member2", 2, {kGroup});
  stage.join("member3", 3, {kGroup});
  stage.join("sub", 1, {"t/#"});
  stage.join("pub", 0);
  stage["pub"].publish("g/0", proto::QoS::exactly_once);  // the next one is for the other member
  s.until_quiet();
  stage.delay_news(1, 2, 60);
  stage.kill(1);
  s.steps(20 + variant % 10);
  for (const char* topic : {"t/0", "g/0", "g/1", "g/0"}) {
    if (stage["pub"].current() != nullptr) stage["pub"].publish(topic, proto::QoS::exactly_once);
  }
  s.steps(30 + variant / 2);
  stage.kill(0);
}

// The new owner dies when it has the session, but nobody has heard of that: the old one goes on with it for a while.
void shared_group_and_a_move_unheard_of(Simulation& s, uint64_t variant) {
  Stage stage(s);
  stage.join("member", 0, {kGroup});
  stage.join("pub", 2 + variant % 2);
  s.until_quiet();
  stage.connect("member", 1);
  s.steps(variant / 2);
  stage.kill(1);
  stage["member"].drop(true);
  s.steps(40 + variant % 7 * 20);
  publish_to_group(stage, 2);
  s.steps(60);
}

// What is left of the member where it came from: its worker dies twice before it hears that it has nothing there.
void shared_group_and_two_deaths_behind_a_member(Simulation& s, uint64_t variant) {
  Stage stage(s);
  const std::string member = text("member", variant % 5);
  stage.join(member, 0, {kGroup});
  stage.join("pub", 2 + variant % 2);
  s.until_quiet();
  for (uint32_t home = 1; home < 4; ++home) stage.hold(home, 0, variant % 3 != 0);
  stage.connect(member, 1);
  s.steps(30 + variant % 40);
  for (uint32_t home = 1; home < 4; ++home) stage.hold(home, 0, false);
  s.steps(variant % 60);
  stage.kill(0);
  stage[member].drop(true);
  s.steps(40);
  s.world.start(0);
  s.steps(30 + variant / 2);
  publish_to_group(stage, 2);
  s.steps(variant / 3);
  stage.kill(0);
  publish_to_group(stage, 1);
}

Settings four_workers() {
  Settings settings;
  settings.workers = 4;
  settings.clients = 0;
  return settings;
}
Settings four_workers_durable() {
  Settings settings = four_workers();
  settings.durable_members = true;
  return settings;
}
Settings three_workers() {
  Settings settings = four_workers();
  settings.workers = 3;
  return settings;
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all{
      {"everybody-hears", 10, three_workers(), everybody_hears},
      {"retained-everywhere", 40, three_workers(), retained_everywhere},
      {"retained-while-a-home-is-away", 80, three_workers(), retained_while_a_home_is_away},
      {"worker-of-publisher-dies", 60, three_workers(), worker_of_publisher_dies},
      {"takeover-in-a-stream", 50, three_workers(), takeover_in_a_stream},
      {"chain-of-takeovers", 60, four_workers(), chain_of_takeovers},
      {"racing-connects", 80, four_workers(), racing_connects},
      {"takeover-and-a-death", 560, four_workers(), takeover_and_a_death},
      {"takeover-and-a-cut", 320, four_workers(), takeover_and_a_cut},
      {"takeover-from-a-stopped-worker", 160, four_workers(), takeover_from_a_stopped_worker},
      {"takeover-while-a-worker-joins", 160, four_workers(), takeover_while_a_worker_joins},
      {"takeover-and-a-death-heard-of-late", 240, four_workers(), takeover_and_a_death_heard_of_late},
      {"a-session-ends-where-it-went", 240, three_workers(), a_session_ends_where_it_went},
      {"suback-races-a-joining-worker", 160, three_workers(), suback_races_a_joining_worker},
      {"suback-races-a-publisher", 60, three_workers(), suback_races_a_publisher},
      {"shared-group", 40, four_workers(), shared_group},
      {"shared-group-and-a-death", 180, four_workers(), shared_group_and_a_death},
      {"shared-group-and-a-leaving-member", 180, four_workers(), shared_group_and_a_leaving_member},
      {"shared-group-and-late-news-of-a-death", 40, three_workers(), shared_group_and_late_news_of_a_death},
      {"shared-group-and-a-forgotten-answer", 80, three_workers(), shared_group_and_a_forgotten_answer},
      {"shared-group-and-a-moving-member", 480, four_workers_durable(), shared_group_and_a_moving_member},
      {"shared-group-and-what-was-held", 240, four_workers_durable(), shared_group_and_what_was_held},
      {"shared-group-and-a-move-unheard-of", 400, four_workers_durable(), shared_group_and_a_move_unheard_of},
      {"shared-group-and-two-deaths-behind-a-member", 400, four_workers_durable(),
       shared_group_and_two_deaths_behind_a_member},
      {"a-session-ends-after-leaving-its-group", 60, three_workers(), a_session_ends_after_leaving_its_group},
  };
  return all;
}

}  // namespace sim
