#include "worker/session/directory.h"

#include <doctest/doctest.h>

#include "shared/base/random.h"
#include "tests/support/lines.h"
#include "tests/support/manual_clock.h"

namespace session {
namespace {

using support::Lines;

constexpr WorkerId kA{0, 100}, kB{1, 200}, kC{2, 300};

std::string name(const WorkerId& worker) {
  return std::string(1, static_cast<char>('A' + worker.slot));
}

// Writes replies down: "A#1 holder=none", "A#1 superseded".
struct Fixture : Directory::Replies {
  support::ManualClock clock;
  Directory directory{clock, *this};
  Lines lines;
  Lines stales;
  Lines hang_ups;
  bool answers = false;  // hang_up is answered later
  std::vector<uint64_t> epochs;

  void grant(const WorkerId& to, uint64_t claim, uint64_t epoch, const std::optional<WorkerId>& holder) override {
    lines.push_back(name(to) + "#" + std::to_string(claim) + " holder=" + (holder ? name(*holder) : "none"));
    epochs.push_back(epoch);
  }
  void superseded(const WorkerId& to, uint64_t claim) override {
    lines.push_back(name(to) + "#" + std::to_string(claim) + " superseded");
  }
  void stale(const WorkerId& to, std::string_view id, uint64_t epoch) override {
    stales.push_back(name(to) + " " + std::string(id) + " below " + std::to_string(epoch));
  }
  bool hang_up(const WorkerId& to, std::string_view id, uint64_t epoch) override {
    hang_ups.push_back(name(to) + " " + std::string(id) + " below " + std::to_string(epoch));
    return answers;
  }
  void refused(const WorkerId& to, uint64_t claim) override {
    lines.push_back(name(to) + "#" + std::to_string(claim) + " refused");
  }
  std::optional<WorkerId> ask(std::string_view, uint64_t, uint64_t) override {
    lines.push_back("asked");
    return std::nullopt;
  }
  void settled(std::string_view, uint64_t, Directory::Outcome) override { lines.push_back("settled"); }
  bool note_unheard(std::string_view, uint64_t) override {
    lines.push_back("unheard");
    return false;
  }
  void claim(const WorkerId& from, uint64_t number) { directory.on_claim(from, "c", number); }
  void held(const WorkerId& from, uint64_t number, Directory::Outcome outcome = Directory::Outcome::kept) {
    directory.on_held(from, "c", number, outcome);
  }
  // `from` holds the session, by its claim `number`.
  void holder(const WorkerId& from, uint64_t number) {
    claim(from, number);
    held(from, number);
    lines.clear();
  }
  Lines replies() { return support::take(lines); }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "directory: the first claim finds no holder") {
  claim(kA, 1);
  CHECK(replies() == Lines{"A#1 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "directory: the next claim is told who holds the session") {
  holder(kA, 1);
  claim(kB, 7);
  CHECK(replies() == Lines{"B#7 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a worker may claim what it holds itself") {
  holder(kA, 1);
  claim(kA, 2);
  CHECK(replies() == Lines{"A#2 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: client ids have nothing to do with each other") {
  directory.on_claim(kA, "one", 1);
  directory.on_claim(kB, "two", 1);
  CHECK(replies() == Lines{"A#1 holder=none", "B#1 holder=none"});
  CHECK(directory.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "directory: a claim during a transfer waits for its end") {
  claim(kA, 1);
  claim(kB, 1);
  CHECK(replies() == Lines{"A#1 holder=none"});
  held(kA, 1);
  CHECK(replies() == Lines{"B#1 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: of many racing claims the newest goes next, and live, supersedes the others") {
  claim(kA, 1);
  claim(kB, 1);
  claim(kC, 1);
  claim(kA, 2);
  held(kA, 1);
  CHECK(replies() == Lines{"A#1 holder=none", "A#2 holder=A"});
  held(kA, 2);
  CHECK(replies() == Lines{"B#1 superseded", "C#1 superseded"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a newest claim that does not go live leaves the next older one its turn") {
  for (const auto outcome : {Directory::Outcome::not_pulled, Directory::Outcome::offline, Directory::Outcome::ended}) {
    holder(kA, 1);
    claim(kB, 1);
    claim(kC, 1);
    claim(kA, 2);
    held(kB, 1);
    held(kA, 2, outcome);
    CHECK(replies().back().starts_with("C#1 holder="));
    held(kC, 1);
    CHECK(replies().empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "directory: a claim that came after the live one is granted, not superseded") {
  claim(kA, 1);
  claim(kB, 1);
  held(kA, 1);
  claim(kC, 1);
  held(kB, 1);
  CHECK(replies() == Lines{"A#1 holder=none", "B#1 holder=A", "C#1 holder=B"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a claimant that did not pull leaves the holder as it was") {
  holder(kA, 1);
  claim(kB, 1);
  held(kB, 1, Directory::Outcome::not_pulled);
  claim(kC, 1);
  CHECK(replies() == Lines{"B#1 holder=A", "C#1 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a session that ended in the transfer is held by nobody") {
  holder(kA, 1);
  claim(kB, 1);
  held(kB, 1, Directory::Outcome::ended);
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 0);
  claim(kC, 1);
  CHECK(replies() == Lines{"B#1 holder=A", "C#1 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "directory: what was left behind by a session that has ended is out of date") {
  holder(kA, 1);
  const uint64_t old = epochs.back();
  claim(kB, 1);
  held(kB, 1);
  stales.clear();
  directory.on_release(kB, "c", epochs.back());
  SUBCASE("its worker has forgotten it") {
    directory.on_forgotten(kA, "c");
    CHECK(directory.size() == 0);
  }
  SUBCASE("it is loaded by that one's replacement") {
    const WorkerId again{0, 101};
    directory.on_holding(again, "c", old, 0);
    directory.on_worker_synced(again);
    CHECK(support::take(stales) == Lines{"A c below " + std::to_string(epochs.back())});
    claim(kC, 1);
    CHECK(lines.back() == "C#1 holder=none");
  }
  SUBCASE("that one's replacement does not have it") {
    directory.on_worker_synced({0, 101});
    CHECK(directory.size() == 0);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "directory: while it starts it may be told first of the end of a session, or of what is left of it") {
  directory.on_starting();
  SUBCASE("of the end") {
    directory.on_release(kB, "c", 9);
    directory.on_holding(kA, "c", 5, 0);
  }
  SUBCASE("of what is left") {
    directory.on_holding(kA, "c", 5, 0);
    directory.on_release(kB, "c", 9);
  }
  CHECK(support::take(stales) == Lines{"A c below 9"});
  directory.on_ready();
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: while it starts it may be told of the end of what has begun anew") {
  directory.on_starting();
  directory.on_release(kB, "c", 9);
  directory.on_holding(kA, "c", 12, 0);
  directory.on_ready();
  CHECK(stales.empty());
  claim(kC, 1);
  CHECK(lines.back() == "C#1 holder=A");
}

TEST_CASE_FIXTURE(Fixture, "directory: a report of a transfer that is not under way is ignored") {
  holder(kA, 1);
  claim(kB, 5);
  held(kB, 4);                                              // an older claim of the same worker
  held(kC, 5);                                              // another worker
  directory.on_held(kB, "x", 5, Directory::Outcome::kept);  // another client id
  claim(kC, 1);
  CHECK(replies() == Lines{"B#5 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a report of an earlier incarnation of the claimant is ignored") {
  claim(kA, 1);
  held({kA.slot, kA.incarnation + 1}, 1);
  claim(kB, 1);
  CHECK(replies() == Lines{"A#1 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "directory: a released session leaves no entry") {
  holder(kA, 1);
  directory.on_release(kA, "c", epochs.back());
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: a release is the holder's with the epoch it holds, or it is ignored") {
  holder(kA, 1);
  directory.on_release(kB, "c", epochs.back());
  directory.on_release(kA, "c", epochs.back() - 1);
  directory.on_release(kA, "x", epochs.back());
  claim(kC, 1);
  CHECK(replies() == Lines{"C#1 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: the holder's release counts after a claimant that did not pull") {
  holder(kA, 1);
  claim(kB, 2);
  held(kB, 2, Directory::Outcome::not_pulled);
  directory.on_release(kA, "c", epochs.front());
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: a release during a transfer makes the next grant free of a holder") {
  holder(kA, 1);
  claim(kB, 1);
  directory.on_release(kA, "c", epochs.front());
  held(kB, 1, Directory::Outcome::not_pulled);
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: epochs grow past the clock, past the end of a session, past what peers report") {
  claim(kA, 1);
  CHECK(epochs[0] == clock.wall_us());
  held(kA, 1, Directory::Outcome::ended);
  claim(kA, 2);
  CHECK(epochs[1] == epochs[0] + 1);
  directory.on_holding(kB, "other", epochs[1] + 1'000'000, 0);
  held(kA, 2);
  claim(kA, 3);
  CHECK(epochs[2] > epochs[1] + 1'000'000);
}

TEST_CASE_FIXTURE(Fixture, "directory: what a dead worker held is its replacement's to tell") {
  const WorkerId next{kA.slot, kA.incarnation + 100};
  holder(kA, 1);
  directory.on_worker_gone(kA);
  claim(kB, 1);
  CHECK(replies() == Lines{"B#1 holder=A"});
  directory.on_holding(next, "c", epochs.front(), 0);
  directory.on_worker_synced(next);
  held(kB, 1, Directory::Outcome::not_pulled);
  directory.on_release(next, "c", epochs.front());
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: what the replacement of a dead worker does not hold is free") {
  const WorkerId next{kA.slot, kA.incarnation + 100};
  holder(kA, 1);
  directory.on_worker_gone(kA);
  directory.on_worker_synced(kB);
  CHECK(directory.size() == 1);
  directory.on_worker_synced(next);
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: after a transfer the holder before is told that its session is stale") {
  holder(kA, 1);
  claim(kB, 1);
  held(kB, 1);
  CHECK(stales == Lines{"A c below " + std::to_string(epochs.back())});
  claim(kA, 2);
  held(kA, 2, Directory::Outcome::not_pulled);
  CHECK(stales.size() == 1);
  claim(kB, 2);  // its own
  held(kB, 2);
  CHECK(stales.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "directory: of two that say they hold a session the higher epoch does") {
  directory.on_holding(kA, "c", 10, 0);
  directory.on_holding(kB, "c", 20, 0);
  CHECK(stales == Lines{"A c below 20"});
  directory.on_holding(kC, "c", 15, 0);
  CHECK(stales.back() == "C c below 20");
  claim(kA, 3);
  CHECK(replies() == Lines{"A#3 holder=B"});
}

TEST_CASE_FIXTURE(Fixture,
                  "directory: nobody goes live before the connection of a session that is out of date is closed") {
  answers = true;
  directory.on_starting();
  directory.on_holding(kA, "c", 10, 0);
  directory.on_holding(kB, "c", 20, 0);
  directory.on_ready();
  CHECK(hang_ups == Lines{"A c below 20"});
  claim(kC, 1);
  CHECK(replies().empty());
  directory.on_hung_up(kB, "c");  // nobody asked it
  SUBCASE("its worker says so") {
    directory.on_forgotten(kA, "c");
    CHECK(replies().empty());
    directory.on_hung_up(kA, "c");
  }
  SUBCASE("its worker dies") {
    directory.on_worker_gone(kA);
  }
  CHECK(replies() == Lines{"C#1 holder=B"});
  directory.on_hung_up(kA, "c");
  CHECK(replies().empty());
}

TEST_CASE_FIXTURE(Fixture, "directory: a claimant that dies while a connection is closed is not granted") {
  answers = true;
  directory.on_holding(kA, "c", 20, 0);
  directory.on_holding(kB, "c", 10, 0);
  claim(kC, 1);
  directory.on_worker_gone(kC);
  directory.on_hung_up(kB, "c");
  CHECK(replies().empty());
  directory.on_worker_synced({kC.slot, kC.incarnation + 100});
  claim(kA, 2);
  CHECK(replies() == Lines{"A#2 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: an entry stays until a connection that was to be closed is") {
  answers = true;
  directory.on_starting();
  directory.on_release(kB, "c", 9);
  directory.on_holding(kA, "c", 5, 0);
  directory.on_ready();
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 1);
  directory.on_hung_up(kA, "c");
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "directory: the death of a claimant grants the one that waits") {
  holder(kA, 1);
  claim(kB, 1);
  claim(kC, 1);
  directory.on_worker_gone(kB);
  CHECK(replies() == Lines{"B#1 holder=A"});  // B may have stored the session
  const WorkerId next{kB.slot, kB.incarnation + 100};
  SUBCASE("it had not") {
    directory.on_worker_synced(next);
    CHECK(replies() == Lines{"C#1 holder=A"});
  }
  SUBCASE("it had") {
    directory.on_holding(next, "c", epochs.back(), 0);
    directory.on_worker_synced(next);
    CHECK(replies() == Lines{"C#1 holder=B"});
    CHECK(stales == Lines{"A c below " + std::to_string(epochs[1])});
  }
}

TEST_CASE_FIXTURE(Fixture, "directory: the death of the holder during a transfer leaves it to the claimant") {
  holder(kA, 1);
  claim(kB, 1);
  directory.on_worker_gone(kA);
  held(kB, 1);
  claim(kC, 1);
  CHECK(replies() == Lines{"B#1 holder=A", "C#1 holder=B"});
}

TEST_CASE_FIXTURE(Fixture, "directory: the death of the one that waits changes nothing for the others") {
  claim(kA, 1);
  claim(kB, 1);
  directory.on_worker_gone(kB);
  held(kA, 1);
  CHECK(replies() == Lines{"A#1 holder=none"});
  claim(kC, 1);
  CHECK(replies() == Lines{"C#1 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: another incarnation of a dead worker's slot keeps what it holds") {
  holder(kA, 1);
  directory.on_worker_gone({kA.slot, kA.incarnation - 1});
  claim(kB, 1);
  CHECK(replies() == Lines{"B#1 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "directory: rebuilt from what peers hold, in any order, the newest epoch holds") {
  for (const bool newest_first : {true, false}) {
    Fixture rebuilt;
    rebuilt.directory.on_holding(newest_first ? kB : kA, "c", newest_first ? 20 : 10, 0);
    rebuilt.directory.on_holding(newest_first ? kA : kB, "c", newest_first ? 10 : 20, 0);
    rebuilt.claim(kC, 1);
    CHECK(rebuilt.replies() == Lines{"C#1 holder=B"});
  }
}

TEST_CASE_FIXTURE(Fixture, "directory: rebuilt with a transfer under way, a claim waits for it") {
  directory.on_holding(kA, "c", 10, 0);
  directory.on_holding(kB, "c", 11, 4);
  claim(kC, 1);
  CHECK(replies().empty());
  held(kB, 4);
  CHECK(replies() == Lines{"C#1 holder=B"});
}

TEST_CASE_FIXTURE(Fixture, "directory: random claims, ends and deaths leave one transfer at most and an empty table") {
  base::Random random(7);
  struct Granted {
    WorkerId to;
    uint64_t claim;
  };
  const WorkerId workers[] = {kA, kB, kC};
  std::vector<Granted> open;
  uint64_t number = 0;
  for (int step = 0; step < 5000; ++step) {
    const WorkerId& worker = workers[random.below(3)];
    if (random.one_in(2)) {
      claim(worker, ++number);
    } else if (!open.empty()) {
      held(open.back().to, open.back().claim, static_cast<Directory::Outcome>(random.below(3)));
      open.pop_back();
    } else {
      directory.on_worker_gone(worker);
      directory.on_worker_synced({worker.slot, worker.incarnation + 1000});
    }
    for (const std::string& line : replies()) {
      if (line.find("holder") == std::string::npos) continue;
      open.push_back({workers[line[0] - 'A'], std::stoull(line.substr(2))});
      REQUIRE(open.size() == 1);
    }
  }
  for (const WorkerId& worker : workers) {
    directory.on_worker_gone(worker);
    directory.on_worker_synced({worker.slot, worker.incarnation + 1000});
  }
  CHECK(directory.size() == 0);
}

}  // namespace session
