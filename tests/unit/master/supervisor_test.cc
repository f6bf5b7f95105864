#include "master/supervisor.h"

#include <doctest/doctest.h>

#include <csignal>
#include <set>

#include "shared/control/boot.h"

using namespace master;

namespace {

struct TestClock final : base::Clock {
  base::MonoMs mono = 1'000'000;
  base::WallUs wall = 5'000'000;
  base::MonoMs now_ms() const override { return mono; }
  base::WallUs wall_us() const override { return wall; }
};

// "spawn 0", "kill 0 9", "peers 0 1", ... Reports are left out unless they are errors.
struct Printer {
  const Supervisor& supervisor;
  std::string operator()(const Spawn& a) const { return "spawn " + std::to_string(a.slot); }
  std::string operator()(const Kill& a) const {
    return "kill " + std::to_string(a.slot) + ' ' + std::to_string(a.signal);
  }
  std::string operator()(const SendPeers&) const { return "peers"; }
  std::string operator()(const SendStop& a) const { return (a.graceful ? "drain " : "stop ") + std::to_string(a.slot); }
  std::string operator()(const SendAdopt& a) const {
    return "adopt " + std::to_string(a.slot) + " by " + std::to_string(a.by);
  }
  std::string operator()(const SendUnadopt& a) const {
    return "unadopt " + std::to_string(a.slot) + " by " + std::to_string(a.by);
  }
  std::string operator()(const StartedUp&) const { return "started up"; }
  std::string operator()(const Report& a) const { return a.error ? "error" : "warning"; }
  std::string operator()(const Exit& a) const { return "exit " + std::to_string(a.code); }
};

constexpr ExitStatus kKilled{0, SIGKILL};
constexpr ExitStatus kClean{0, 0};
constexpr ExitStatus kFatal{2, 0};

// A supervisor with live workers whose hearts beat until told otherwise.
struct Fixture {
  TestClock clock;
  Policy policy;
  std::vector<SlotInfo> slots;
  std::optional<Supervisor> supervisor;
  std::set<uint32_t> stuck;
  bool loading = false;
  pid_t next_pid = 100;

  std::string act(const Actions& actions) {
    std::string out;
    for (const Action& action : actions) {
      out += (out.empty() ? "" : ", ") + std::visit(Printer{*supervisor}, action);
      if (const auto* spawn = std::get_if<Spawn>(&action)) {
        CHECK(supervisor->on_spawned(spawn->slot, next_pid++) == Actions{SendPeers{}});
      }
    }
    return out;
  }
  std::string ready(uint32_t slot) { return act(supervisor->on_ready(slot, supervisor->incarnation(slot))); }
  std::string die(uint32_t slot, ExitStatus status = kKilled) { return act(supervisor->on_exit(slot, status)); }
  std::string tick() {
    std::vector<Heartbeat> heartbeats(supervisor->slot_count());
    for (uint32_t i = 0; i < supervisor->slot_count(); ++i) {
      heartbeats[i] = {supervisor->incarnation(i), stuck.contains(i) ? 0 : clock.mono, loading};
    }
    return act(supervisor->on_tick(heartbeats));
  }
  // Time passes in ticks. What happened, with the milliseconds after which it did.
  std::string pass(uint64_t ms, uint64_t step = 50) {
    std::string out;
    for (uint64_t passed = step; passed <= ms; passed += step) {
      clock.mono += step;
      clock.wall += step * 1000;
      const std::string now = tick();
      if (!now.empty()) out += (out.empty() ? "" : "; ") + std::to_string(passed) + ": " + now;
    }
    return out;
  }
  std::string start(size_t count) {
    if (slots.size() != count) slots.assign(count, {});
    supervisor.emplace(policy, slots, clock);
    return act(supervisor->start());
  }
  void run(size_t count) {
    start(count);
    for (uint32_t i = 0; i < count; ++i) ready(i);
    pass(policy.short_life_ms);
  }
  std::string states() const {
    std::string out;
    for (uint32_t i = 0; i < supervisor->slot_count(); ++i) {
      out += (i == 0 ? "" : " ") + std::string(name(supervisor->state(i)));
    }
    return out;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "supervisor: starts every slot, and is started up when each was ready once") {
  CHECK(start(2) == "spawn 0, spawn 1");
  CHECK(states() == "starting starting");
  CHECK_FALSE(supervisor->all_ready());
  CHECK(ready(1) == "");
  CHECK(ready(0) == "started up");
  CHECK(states() == "ready ready");
  CHECK(supervisor->all_ready());
  CHECK(pass(1000) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: started up is said once, even if a worker died meanwhile") {
  start(2);
  ready(0);
  CHECK(die(0) == "peers, spawn 0");
  CHECK(ready(1) == "started up");
  CHECK(ready(0) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: incarnations follow the wall clock and never repeat or shrink") {
  start(3);
  const uint64_t first = supervisor->incarnation(0);
  CHECK(first == 5'000'000);
  CHECK(supervisor->incarnation(1) == first + 1);
  CHECK(supervisor->incarnation(2) == first + 2);
  clock.wall = 1;  // set back
  die(0);
  CHECK(supervisor->incarnation(0) == first + 3);
  clock.wall = 9'000'000;
  die(1);
  CHECK(supervisor->incarnation(1) == 9'000'000);
}

TEST_CASE_FIXTURE(Fixture,
                  "supervisor: incarnations grow past what a master before has given, whatever the clock says") {
  policy.last_incarnation = 7'000'000;
  start(2);
  CHECK(supervisor->incarnation(0) == 7'000'001);
  CHECK(supervisor->incarnation(1) == 7'000'002);
  policy.host_tag = 0x155;
  policy.last_incarnation = (7'000'000ULL << 10) + 0x2AA;
  start(1);
  CHECK(supervisor->incarnation(0) == (7'000'001ULL << 10) + 0x155);
}

TEST_CASE_FIXTURE(Fixture, "supervisor: in a cluster incarnations of different hosts differ, and still grow") {
  policy.host_tag = 0x155;
  start(2);
  CHECK(supervisor->incarnation(0) == (5'000'000ULL << 10) + 0x155);
  CHECK(supervisor->incarnation(1) == (5'000'001ULL << 10) + 0x155);
  clock.wall = 1;  // set back
  die(0);
  CHECK(supervisor->incarnation(0) == (5'000'002ULL << 10) + 0x155);
  policy.host_tag = 0x3FF;
  clock.wall = 8'999'999'999'999'999;  // in the year 2255
  start(1);
  CHECK(supervisor->incarnation(0) < 1ULL << 63);
}

TEST_CASE_FIXTURE(Fixture, "supervisor: peers are the live processes") {
  run(2);
  CHECK(supervisor->peers() == control::Peers{{{0, 5'000'000}, {1, 5'000'001}}});
  policy.backoff_first_ms = 1000;
  die(0);
  die(0);  // the replacement too: now it waits
  CHECK(states() == "down ready");
  CHECK(supervisor->peers() == control::Peers{{{1, 5'000'001}}});
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a dead worker is replaced at once, whatever it died of") {
  for (const ExitStatus status : {kKilled, kClean, ExitStatus{1, 0}, ExitStatus{0, SIGSEGV}}) {
    run(2);
    CHECK(die(1, status) == "peers, spawn 1");
    CHECK(states() == "ready starting");
    CHECK(supervisor->restarts(1) == 1);
  }
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that keeps dying waits longer each time, up to a maximum") {
  policy.adopt_after_ms = 1'000'000;
  policy.backoff_max_ms = 1000;
  run(1);
  CHECK(die(0) == "peers, spawn 0");
  for (const char* expected :
       {"100: spawn 0", "200: spawn 0", "400: spawn 0", "800: spawn 0", "1000: spawn 0", "1000: spawn 0"}) {
    ready(0);
    CHECK(die(0) == "peers, warning");
    CHECK(states() == "down");
    CHECK(pass(1000).starts_with(expected));
    CHECK(states() == "starting");
  }
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a long life ends the back-off") {
  run(1);
  die(0);
  ready(0);
  CHECK(die(0) == "peers, warning");
  pass(100);
  ready(0);
  pass(policy.short_life_ms);
  CHECK(die(0) == "peers, spawn 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a fatal exit while starting up stops everything with exit code 1") {
  start(3);
  ready(0);
  CHECK(die(1, kFatal) == "peers, error, stop 0, kill 2 15");
  CHECK(states() == "stopping down stopping");
  CHECK(die(0, kClean) == "peers");
  CHECK(die(2, {0, SIGTERM}) == "peers, exit 1");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a fatal exit later is tried again, at the slowest pace") {
  run(2);
  CHECK(die(1, kFatal) == "peers, error");
  CHECK(pass(5000) == "150: adopt 1 by 0; 5000: spawn 1");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that never lives to be ready ends the start") {
  policy.start_attempts = 3;
  start(2);
  ready(0);
  CHECK(die(1) == "peers, spawn 1");
  CHECK(die(1) == "peers, warning");
  CHECK(pass(100) == "100: spawn 1");
  CHECK(die(1) == "peers, error, stop 0");
  CHECK(die(0, kClean) == "peers, exit 1");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that does not get ready is killed and replaced") {
  start(1);
  CHECK(pass(policy.ready_timeout_ms) == "");
  CHECK(pass(1000) == "50: error, kill 0 9");  // once
  CHECK(die(0) == "peers, spawn 0");
  CHECK(pass(policy.ready_timeout_ms) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that loads its store may take as long as its heart beats") {
  start(2);
  loading = true;
  CHECK(pass(10 * policy.ready_timeout_ms) == "");
  stuck = {1};
  CHECK(pass(policy.ready_timeout_ms) == "50: error, kill 1 9");  // its last heartbeat is long ago
  loading = false;
  CHECK(pass(policy.ready_timeout_ms) == "");  // now it has its time to get ready
  CHECK(pass(1000) == "50: error, kill 0 9");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: stuck is dead") {
  policy.stall_timeout_ms = 1000;
  run(2);
  stuck = {1};
  CHECK(pass(2000) == "50: error, kill 1 9");  // its last heartbeat is long ago
  CHECK(die(1) == "peers, spawn 1");
  stuck.clear();
  CHECK(pass(100) == "");
  CHECK(ready(1) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: the heartbeat counts from ready, and another incarnation's does not") {
  policy.stall_timeout_ms = 1000;
  start(1);
  ready(0);
  const std::vector<Heartbeat> foreign{{1, clock.mono + 100'000}};
  clock.mono += 400;
  CHECK(act(supervisor->on_tick(foreign)) == "");
  clock.mono += 400;
  CHECK(act(supervisor->on_tick(foreign)) == "");
  clock.mono += 200;
  CHECK(act(supervisor->on_tick(foreign)) == "");
  clock.mono += 1;
  CHECK(act(supervisor->on_tick(foreign)) == "error, kill 0 9");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: after a pause of the whole host the workers get their time again") {
  policy.stall_timeout_ms = 1000;
  run(2);
  stuck = {0, 1};  // no heartbeat is newer than the pause
  clock.mono += 60'000;
  CHECK(tick() == "");
  CHECK(pass(1000) == "");
  CHECK(pass(50) == "50: error, kill 0 9, error, kill 1 9");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a heartbeat from the future is a live worker") {
  run(1);
  CHECK(act(supervisor->on_tick(std::vector<Heartbeat>{{supervisor->incarnation(0), clock.mono + 5}})) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a message of an incarnation before is ignored") {
  start(1);
  const uint64_t old = supervisor->incarnation(0);
  die(0);
  CHECK(act(supervisor->on_ready(0, old)) == "");
  CHECK(states() == "starting");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that loses its control channel and lives on is killed") {
  run(1);
  supervisor->on_channel_lost(0);
  CHECK(pass(500) == "");
  CHECK(pass(50) == "50: error, kill 0 9");
  CHECK(die(0) == "peers, spawn 0");
  CHECK(pass(1000) == "");  // the new one has a channel of its own
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a slot without a worker is accepted for, until it has one") {
  run(2);
  die(0);
  CHECK(pass(100) == "");
  CHECK(pass(50) == "50: adopt 0 by 1");
  CHECK(pass(1000) == "");
  CHECK(ready(0) == "unadopt 0 by 1");
  CHECK(pass(1000) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: an adopter that dies is followed by another one, its own slot too") {
  run(3);
  die(0);
  CHECK(pass(150) == "150: adopt 0 by 1");
  die(1);
  CHECK(pass(150) == "50: adopt 0 by 2; 150: adopt 1 by 2");
  CHECK(ready(1) == "unadopt 1 by 2");
  CHECK(ready(0) == "unadopt 0 by 2");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: with nobody ready a slot waits for the first who is") {
  run(2);
  die(0);
  die(1);
  CHECK(pass(500) == "");
  CHECK(ready(1) == "");
  CHECK(pass(50) == "50: adopt 0 by 1");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: the adopter is of the same group if it can be, and has adopted least") {
  slots = {{0}, {0}, {1}, {1}, {1}};
  run(5);
  die(0);
  die(2);
  CHECK(pass(150) == "150: adopt 0 by 1, adopt 2 by 3");
  die(3);
  CHECK(pass(150) == "50: adopt 2 by 4; 150: adopt 3 by 4");
  die(1);
  CHECK(pass(150) == "50: adopt 0 by 4; 150: adopt 1 by 4");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a shared socket needs no adopter while one of its group is ready") {
  slots = {{0, true}, {0, true}, {1, false}};
  run(3);
  die(0);
  CHECK(pass(300) == "");
  die(1);
  CHECK(pass(150) == "50: adopt 0 by 2; 150: adopt 1 by 2");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: the gateway is a process like the others, but nobody accepts for it, nor it") {
  slots = {{0}, {0}, {.gateway = true}};
  start(3);
  ready(0);
  ready(1);
  CHECK(ready(2) == "started up");
  CHECK(supervisor->peers().peers.size() == 3);
  pass(policy.short_life_ms);
  CHECK(die(2) == "peers, spawn 2");
  CHECK(states() == "ready ready starting");
  CHECK(pass(1000) == "");
  CHECK(ready(2) == "");
  die(0);
  die(1);
  CHECK(pass(1000) == "");  // only the gateway is ready
  CHECK(ready(1) == "");
  CHECK(pass(50) == "50: adopt 0 by 1");
  stuck = {2};
  CHECK(pass(policy.stall_timeout_ms).find("error, kill 2 9") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "supervisor: the gateway stops when the workers are gone") {
  slots = {{0}, {0}, {.gateway = true}};
  run(3);
  CHECK(act(supervisor->on_stop(true)) == "drain 0, drain 1");
  CHECK(states() == "stopping stopping ready");
  CHECK(die(0, kClean) == "peers");
  CHECK(pass(10'000) == "");
  CHECK(die(1, kClean) == "peers, stop 2");
  CHECK(states() == "down down stopping");
  CHECK(pass(1950) == "");
  CHECK(pass(50) == "50: error, kill 2 9");
  CHECK(die(2) == "peers, exit 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a gateway that dies in a stop is not replaced, one that starts is terminated") {
  slots = {{0}, {.gateway = true}};
  run(2);
  act(supervisor->on_stop(false));
  CHECK(die(1) == "peers");
  CHECK(die(0, kClean) == "peers, exit 0");
  run(2);
  die(1);
  CHECK(act(supervisor->on_stop(false)) == "stop 0");
  CHECK(die(0, kClean) == "peers, kill 1 15");
  CHECK(die(1) == "peers, exit 0");
  run(2);
  die(0);
  die(0);  // down
  CHECK(act(supervisor->on_stop(false)) == "stop 1");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: asked to stop again it kills the gateway, too") {
  slots = {{0}, {.gateway = true}};
  run(2);
  act(supervisor->on_stop(true));
  CHECK(act(supervisor->on_stop(false)) == "error, kill 0 9, error, kill 1 9");
  CHECK(die(1) == "peers");
  CHECK(die(0) == "peers, exit 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: while starting up nobody adopts") {
  start(2);
  ready(0);
  CHECK(pass(1000) == "");
  CHECK(ready(1) == "started up");
  CHECK(pass(1000) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a gateway that was fenced is replaced without back-off") {
  run(1);
  const auto fenced = [this] { return die(0, {control::kExitFenced, 0}); };
  CHECK(fenced() == "peers, spawn 0");
  for (int i = 0; i < 5; ++i) {
    ready(0);
    CHECK(fenced() == "peers");
    CHECK(pass(policy.backoff_first_ms + 50).find("spawn 0") != std::string::npos);
  }
}

TEST_CASE_FIXTURE(Fixture, "supervisor: stop asks, waits and exits when the last is gone") {
  run(2);
  CHECK(act(supervisor->on_stop(false)) == "stop 0, stop 1");
  CHECK(states() == "stopping stopping");
  CHECK(supervisor->stopping());
  CHECK(die(0, kClean) == "peers");
  CHECK(pass(1000) == "");  // no replacement, no adoption
  CHECK(die(1, kClean) == "peers, exit 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that does not stop in time is killed") {
  run(1);
  act(supervisor->on_stop(false));
  CHECK(pass(5000) == "2000: error, kill 0 9");
  CHECK(die(0) == "peers, exit 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a graceful stop has the drain time as well") {
  run(1);
  CHECK(act(supervisor->on_stop(true)) == "drain 0");
  CHECK(pass(31'950) == "");
  CHECK(pass(50) == "50: error, kill 0 9");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: asked to stop again it kills at once") {
  run(2);
  act(supervisor->on_stop(true));
  die(0, kClean);
  CHECK(act(supervisor->on_stop(false)) == "error, kill 1 9");
  CHECK(act(supervisor->on_stop(false)) == "");  // it is on its way
  CHECK(die(1) == "peers, exit 0");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a worker that is starting when all stops is terminated") {
  run(2);
  die(1);
  CHECK(act(supervisor->on_stop(false)) == "stop 0, kill 1 15");
  CHECK(act(supervisor->on_ready(1, supervisor->incarnation(1))) == "");
  CHECK(states() == "stopping stopping");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a stop finds slots down, or everything") {
  run(2);
  die(1);
  die(1);
  CHECK(states() == "ready down");
  CHECK(act(supervisor->on_stop(false)) == "stop 0");
  CHECK(die(0, kClean) == "peers, exit 0");
  run(1);
  die(0);
  die(0);
  CHECK(act(supervisor->on_stop(false)) == "exit 0");
  CHECK(act(supervisor->on_stop(false)) == "");
}

TEST_CASE_FIXTURE(Fixture, "supervisor: a process that cannot be started is a death like another") {
  slots.resize(1);
  supervisor.emplace(policy, slots, clock);
  CHECK(supervisor->start().size() == 1);
  CHECK(act(supervisor->on_exit(0, {1, 0})) == "peers, spawn 0");
}
