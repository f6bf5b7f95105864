// The directory of a host that is one of a cluster: what it asks the cluster, and what it gives to other hosts.
#include <doctest/doctest.h>

#include "tests/support/lines.h"
#include "tests/support/manual_clock.h"
#include "worker/session/directory.h"

namespace session {
namespace {

using support::Lines;
using Outcome = Directory::Outcome;
using Where = Directory::Where;

constexpr WorkerId kA{0, 100}, kB{1, 200}, kGateway{2, 300};

std::string name(const WorkerId& worker) {
  return worker == kGateway ? "gateway" : std::string(1, static_cast<char>('A' + worker.slot));
}

const char* name(Outcome outcome) {
  constexpr const char* kNames[] = {"kept", "offline", "ended", "not pulled", "unheard"};
  return kNames[static_cast<size_t>(outcome)];
}

struct Fixture : Directory::Replies {
  explicit Fixture(bool accept_unknown = false) : directory(clock, *this, true, accept_unknown) {}
  void grant(const WorkerId& to, uint64_t claim, uint64_t at, const std::optional<WorkerId>& holder) override {
    epoch = at;
    lines.push_back(name(to) + "#" + std::to_string(claim) + " holder=" + (holder ? name(*holder) : "none"));
  }
  void superseded(const WorkerId& to, uint64_t claim) override {
    lines.push_back(name(to) + "#" + std::to_string(claim) + " superseded");
  }
  void stale(const WorkerId& to, std::string_view, uint64_t) override { lines.push_back(name(to) + " stale"); }
  bool hang_up(const WorkerId& to, std::string_view, uint64_t) override {
    if (answers) lines.push_back(name(to) + " hang up");
    return answers;
  }
  void refused(const WorkerId& to, uint64_t claim) override {
    lines.push_back(name(to) + "#" + std::to_string(claim) + " refused");
  }
  std::optional<WorkerId> ask(std::string_view, uint64_t, uint64_t held_here) override {
    lines.push_back("ask");
    told = held_here;
    return asked;
  }
  void settled(std::string_view, uint64_t at, Outcome outcome) override {
    epoch = at;
    lines.push_back(name(outcome));
  }
  bool note_unheard(std::string_view, uint64_t at) override {
    noted = at;
    return stores;
  }
  void claim(const WorkerId& from, uint64_t number, bool clean = false) {
    directory.on_claim(from, "c", number, clean);
  }
  void foreign(uint64_t number, uint64_t at) { directory.on_claim(kGateway, "c", number, false, at); }
  void answer(Where where, uint64_t at = 5000) { directory.on_answer("c", where, at, kGateway); }
  void held(const WorkerId& from, uint64_t number, Outcome outcome = Outcome::kept) {
    directory.on_held(from, "c", number, outcome);
  }
  // A holds the session, and the cluster knows.
  void registered() {
    claim(kA, 1);
    answer(Where::here);
    held(kA, 1);
    directory.on_registered("c", epoch, true);
    lines.clear();
  }
  Lines replies() { return support::take(lines); }

  support::ManualClock clock;
  Directory directory;
  Lines lines;
  uint64_t epoch = 0;  // the last one that was told
  uint64_t told = 0;   // with the last question: what this host holds
  std::optional<WorkerId> asked = kGateway;
  bool answers = false;  // hang_up is answered later
  uint64_t noted = 0;    // as unheard of
  bool stores = false;   // that is stored later
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "cluster directory: the cluster is asked before the first grant, and told who holds it") {
  claim(kA, 1);
  CHECK(replies() == Lines{"ask"});
  answer(Where::here, 5000);
  CHECK(replies() == Lines{"A#1 holder=none"});
  CHECK(epoch == 5000);
  held(kA, 1);
  CHECK(replies() == Lines{"kept"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: while this host holds the id nobody is asked") {
  registered();
  claim(kB, 2);
  CHECK(replies() == Lines{"B#2 holder=A"});
  held(kB, 2);
  CHECK(replies() == Lines{"A stale"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: epochs are the clock's, also while it is this host's") {
  registered();
  claim(kB, 2);
  CHECK(epoch == clock.wall_us());
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a session of another host is the gateway's to give") {
  claim(kA, 1);
  answer(Where::elsewhere);
  CHECK(replies() == Lines{"ask", "A#1 holder=gateway"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what comes from elsewhere waits until the connection here is closed") {
  registered();
  directory.register_all(kGateway);  // another host holds it, too, as the cluster knows
  answers = true;
  claim(kB, 2, true);
  answer(Where::elsewhere);
  CHECK(replies() == Lines{"offline", "ask", "A hang up"});
  SUBCASE("another host, whose session it is, gets the session of this one meanwhile") {
    foreign(7, 4000);
    directory.on_hung_up(kA, "c");
    CHECK(replies() == Lines{"B#2 holder=gateway", "gateway#7 holder=A"});
  }
  SUBCASE("the connection's worker dies") {
    directory.on_worker_gone(kA);
    CHECK(replies() == Lines{"B#2 holder=gateway"});
  }
  SUBCASE("the session ends with its connection") {
    directory.on_release(kA, "c", 1);
    directory.on_hung_up(kA, "c");
    CHECK(replies() == Lines{"B#2 holder=gateway"});
  }
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: who holds it here and claims it closes its own connection") {
  registered();
  directory.register_all(kGateway);
  answers = true;
  claim(kA, 2);
  answer(Where::elsewhere);
  CHECK(replies() == Lines{"offline", "ask", "A#2 holder=gateway"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: another host waits, too, until what is out of date here is closed") {
  registered();
  answers = true;
  directory.on_registered("c", epoch + 100, false);
  CHECK(replies() == Lines{"A hang up", "A stale"});
  foreign(7, epoch + 200);
  CHECK(replies().empty());
  directory.on_hung_up(kA, "c");
  CHECK(replies() == Lines{"gateway#7 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: without an answer what may be elsewhere is refused") {
  claim(kA, 1);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask", "A#1 refused"});
  CHECK(directory.size() == 0);
  SUBCASE("but what is begun anew is not") {
    claim(kA, 2, true);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "A#2 holder=none"});
  }
}

TEST_CASE("cluster directory: unless it is to be accepted") {
  Fixture f(true);
  f.claim(kA, 1);
  f.answer(Where::unknown);
  CHECK(f.replies() == Lines{"ask", "A#1 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: without an answer what is unsure is refused, what is younger is not") {
  registered();
  directory.register_all(kGateway);
  replies();
  directory.set_unsure_until(epoch);
  claim(kB, 2);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask", "B#2 refused"});
  SUBCASE("what is begun anew is this host's") {
    claim(kB, 3, true);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "B#3 holder=A"});
    held(kB, 3);
    replies();
    claim(kA, 4);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "A#4 holder=B"});
  }
  SUBCASE("when it is known") {
    directory.set_unsure_until(0);
    claim(kB, 3);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "B#3 holder=A"});
  }
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: without an answer what is on its way to another host is refused") {
  registered();
  foreign(7, 6000);
  directory.register_all(kGateway);
  replies();
  claim(kB, 2);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask", "B#2 refused"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: ... also if the gateway that gave it there has died") {
  registered();
  foreign(7, 6000);
  directory.on_worker_gone(kGateway);
  replies();
  claim(kB, 2);
  CHECK(replies() == Lines{"ask"});  // the cluster has confirmed it, but before
  SUBCASE("and the cluster cannot be asked") {
    answer(Where::unknown);
    CHECK(replies() == Lines{"B#2 refused"});
  }
  SUBCASE("until the cluster says that it has stayed") {
    answer(Where::unknown);
    directory.register_all(kGateway);
    directory.on_registered("c", 5000, true);
    directory.register_all(kGateway);
    replies();
    claim(kB, 3);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "B#3 holder=A"});
  }
  SUBCASE("who begins anew is not refused, nor whoever resumes that") {
    answer(Where::unknown);
    claim(kB, 3, true);
    answer(Where::unknown);
    held(kB, 3);
    replies();
    claim(kA, 4);
    answer(Where::unknown);
    CHECK(replies() == Lines{"ask", "A#4 holder=B"});
  }
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: without an answer what was held here last is resumed") {
  registered();
  directory.register_all(kGateway);
  CHECK(replies() == Lines{"offline"});
  claim(kB, 2);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask", "B#2 holder=A"});
}

// --- what begins without the cluster ---

TEST_CASE_FIXTURE(Fixture, "cluster directory: what the cluster has not heard of is stored before it is granted") {
  stores = true;
  claim(kA, 1, true);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask"});
  CHECK(noted == clock.wall_us());
  directory.on_noted("c", noted - 1);
  CHECK(replies().empty());
  SUBCASE("it is") {
    directory.on_noted("c", noted);
    CHECK(replies() == Lines{"A#1 holder=none"});
  }
  SUBCASE("the claimant dies") {
    directory.on_worker_gone(kA);
    directory.on_noted("c", noted);
    CHECK(replies().empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what has begun and ended without the cluster is told when it is back") {
  claim(kA, 1, true);
  answer(Where::unknown);
  held(kA, 1);
  const uint64_t begun = noted;
  directory.on_release(kA, "c", epoch);
  CHECK(directory.size() == 1);
  replies();
  directory.register_all(kGateway);
  CHECK(replies() == Lines{"unheard"});
  CHECK(epoch == begun);
  SUBCASE("the cluster has heard of it") {
    directory.on_registered("c", begun, true);
    CHECK(replies() == Lines{"ended"});
  }
  SUBCASE("another host has a later one") {
    directory.on_registered("c", begun + 1, false);
  }
  CHECK(noted == 0);
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what another host has of a client that has begun anew here is older") {
  claim(kA, 1, true);
  answer(Where::unknown);
  held(kA, 1, Outcome::ended);
  const uint64_t begun = noted;
  directory.on_registered("c", begun - 1, false);
  CHECK(noted == begun);
  claim(kB, 2);
  CHECK(told == begun);  // the cluster is to hear of it first
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a life that lasts is told as what is held") {
  claim(kA, 1, true);
  answer(Where::unknown);
  held(kA, 1);
  replies();
  directory.register_all(kGateway);
  CHECK(replies() == Lines{"offline"});
  directory.on_registered("c", epoch, true);
  CHECK(noted == 0);
  directory.on_release(kA, "c", epoch);
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what is held is told also if somebody was about to be refused it") {
  registered();
  foreign(7, epoch + 1000);  // it is on its way to another host, so nobody here gets it without the cluster
  directory.on_cluster_lost(kGateway);
  claim(kB, 2);
  CHECK(replies() == Lines{"gateway#7 holder=A", "ask"});
  directory.register_all(kGateway);  // the cluster is there again, and has lost all it had
  CHECK(replies().empty());
  answer(Where::unknown);
  CHECK(replies() == Lines{"B#2 refused", "offline"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a life that did not begin is not remembered") {
  registered();
  const uint64_t before = epoch;
  directory.on_cluster_lost({});
  claim(kB, 2, true);
  answer(Where::unknown);
  CHECK(replies() == Lines{"ask", "B#2 holder=A"});
  CHECK(noted > before);
  held(kB, 2, Outcome::not_pulled);
  CHECK(noted == before);  // of which the cluster may have heard
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a home that starts goes on with what its predecessor had noted") {
  directory.on_starting();
  directory.restore_unheard("c", 9000);
  directory.restore_unheard("d", 9001);
  directory.on_holding(kA, "c", 9000, 0);
  directory.on_ready();
  CHECK(directory.size() == 2);
  directory.register_all(kGateway);
  CHECK(replies() == Lines{"offline", "unheard"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: the oldest of too many lives is forgotten") {
  for (size_t i = 0; i < Directory::kUnheardKept; ++i) directory.restore_unheard(std::to_string(i), 1 + i);
  claim(kA, 1, true);
  answer(Where::unknown);
  CHECK(directory.unheard() == Directory::kUnheardKept);
  CHECK(noted == 0);  // of the oldest
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a gateway is asked once, its replacement again") {
  claim(kA, 1);
  CHECK(replies() == Lines{"ask"});
  directory.register_all(kGateway);
  CHECK(replies().empty());
  directory.register_all(WorkerId{2, 400});
  CHECK(replies() == Lines{"ask"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: who comes after a question that nobody heard is asked") {
  asked.reset();
  claim(kA, 1);
  replies();
  directory.register_all(kGateway);
  CHECK(replies() == Lines{"ask"});
}

TEST_CASE_FIXTURE(Fixture,
                  "cluster directory: a claim that came to nothing is given back, whatever was confirmed meanwhile") {
  registered();
  directory.register_all(kGateway);
  claim(kB, 2);
  directory.on_registered("c", 5000, true);
  answer(Where::elsewhere, 6000);
  replies();
  held(kB, 2, Outcome::not_pulled);
  CHECK(replies() == Lines{"not pulled", "offline"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a higher epoch elsewhere makes what is here stale") {
  registered();
  directory.on_registered("c", 9000, false);
  CHECK(replies() == Lines{"A stale"});
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what turns out to be stale is not given to another host") {
  registered();
  foreign(7, 20000);
  CHECK(replies() == Lines{"gateway#7 holder=A"});
  directory.on_registered("c", 19000, false);
  CHECK(replies() == Lines{"A stale", "gateway#7 holder=none"});
  directory.on_forgotten(kA, "c");
  held(kGateway, 7, Outcome::ended);
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture,
                  "cluster directory: what has come back is not gone with what another host had of it before") {
  registered();
  foreign(7, 20000);
  claim(kB, 2);
  answer(Where::elsewhere, 30000);
  CHECK(replies() == Lines{"gateway#7 holder=A", "ask", "B#2 holder=gateway"});
  held(kB, 2);
  CHECK(replies() == Lines{"A stale", "kept", "offline", "gateway#7 holder=B"});
  held(kGateway, 7, Outcome::ended);  // the answer to its first grant
  CHECK(replies().empty());
  claim(kA, 3);
  CHECK(replies() == Lines{"A#3 holder=B"});
}

TEST_CASE_FIXTURE(Fixture,
                  "cluster directory: what another host has is not granted to it anew when that was asked for") {
  registered();
  foreign(7, 20000);
  claim(kB, 2);
  directory.on_registered("c", 20000, false);
  CHECK(replies() == Lines{"gateway#7 holder=A", "ask", "A stale"});
  held(kGateway, 7, Outcome::ended);
  foreign(8, 25000);
  answer(Where::elsewhere, 30000);
  CHECK(replies() == Lines{"B#2 holder=gateway", "gateway#8 holder=none"});
}

TEST_CASE_FIXTURE(Fixture,
                  "cluster directory: what is moving when it is another host's is told again when it has moved") {
  registered();
  claim(kB, 2);
  directory.on_registered("c", 9000, false);
  replies();
  held(kB, 2);
  CHECK(replies() == Lines{"A stale", "kept"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what the cluster has of this host and nobody knows is given back") {
  directory.on_registered("c", 5000, true);
  CHECK(replies() == Lines{"ended"});
  answer(Where::left, 5001);
  CHECK(replies() == Lines{"not pulled"});
  SUBCASE("but not what is under way") {
    claim(kA, 1);
    answer(Where::left, 5001);
    directory.on_registered("c", 5000, true);
    CHECK(replies() == Lines{"ask"});
  }
  SUBCASE("unless that goes on without this claim: the cluster did not have to be asked") {
    registered();
    claim(kB, 2);
    answer(Where::left, 5500);
    CHECK(replies() == Lines{"B#2 holder=A", "not pulled"});
  }
  SUBCASE("or its answer was lost") {
    registered();
    directory.register_all(kGateway);
    claim(kB, 2);
    answer(Where::unknown);
    replies();
    answer(Where::left, 5500);
    CHECK(replies() == Lines{"not pulled"});
  }
  SUBCASE("nor what is here") {
    registered();
    directory.on_registered("c", 5000, true);
    CHECK(replies().empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: who claims with an older epoch than what is here is told of it") {
  registered();
  foreign(7, 4000);
  CHECK(replies() == Lines{"offline", "gateway#7 holder=A"});
  CHECK(epoch > 4000);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a session that ends is given back") {
  registered();
  directory.on_release(kA, "c", 5000);
  CHECK(replies() == Lines{"ended"});
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: another host gets what this one has, and the holder forgets it") {
  registered();
  foreign(7, 6000);
  CHECK(replies() == Lines{"gateway#7 holder=A"});
  CHECK(epoch == 6000);
  held(kGateway, 7, Outcome::ended);
  CHECK(replies() == Lines{"A stale"});
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(
    Fixture, "cluster directory: what has begun anew here with a higher epoch does not end with what was given away") {
  registered();
  directory.register_all(kGateway);
  foreign(7, 6000);
  claim(kB, 2, true);
  answer(Where::unknown);
  held(kB, 2);
  CHECK(replies() == Lines{"offline", "gateway#7 holder=A", "ask", "B#2 holder=A", "A stale", "kept", "offline",
                           "gateway#7 holder=B"});
  CHECK(epoch > 6000);
  held(kGateway, 7, Outcome::not_pulled);
  CHECK(replies() == Lines{"offline"});
  CHECK(directory.size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a host that gives up leaves it where it is") {
  registered();
  foreign(7, 6000);
  held(kGateway, 7, Outcome::not_pulled);
  CHECK(replies() == Lines{"gateway#7 holder=A", "offline"});
  directory.on_registered("c", epoch, true);
  claim(kB, 2);
  CHECK(replies() == Lines{"B#2 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a host that seems to give up, but has it, is found out") {
  registered();
  foreign(7, 6000);
  held(kGateway, 7, Outcome::not_pulled);
  replies();
  directory.on_registered("c", 6000, false);
  CHECK(replies() == Lines{"A stale"});
  directory.on_forgotten(kA, "c");
  CHECK(directory.size() == 0);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: another host waits for what the cluster had decided before") {
  claim(kA, 1);
  foreign(7, 6000);
  CHECK(replies() == Lines{"ask"});
  answer(Where::elsewhere, 5000);
  CHECK(replies() == Lines{"A#1 holder=gateway"});
  held(kA, 1);
  CHECK(replies() == Lines{"kept", "gateway#7 holder=A"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: other hosts go in the order of their claims, not of their arrival") {
  claim(kA, 1);
  answer(Where::elsewhere, 5000);
  foreign(7, 6000);
  foreign(8, 5500);
  foreign(9, 4000);
  CHECK(replies() == Lines{"ask", "A#1 holder=gateway", "gateway#9 holder=none"});
  held(kGateway, 9, Outcome::ended);
  held(kA, 1);
  CHECK(replies() == Lines{"kept", "gateway#8 holder=A"});
}

// Two hosts would else wait for each other.
TEST_CASE_FIXTURE(Fixture, "cluster directory: another host does not wait for what the cluster decides later") {
  registered();
  directory.register_all(kGateway);
  claim(kB, 2);
  foreign(7, 6000);
  CHECK(replies() == Lines{"offline", "ask"});
  answer(Where::elsewhere, 7000);
  CHECK(replies() == Lines{"B#2 holder=gateway", "gateway#7 holder=A"});
  held(kGateway, 7, Outcome::ended);
  CHECK(replies() == Lines{"A stale"});
  held(kB, 2);
  CHECK(replies() == Lines{"kept"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: a connection here goes after the session that another host is taking") {
  registered();
  foreign(7, 6000);
  claim(kB, 2);
  CHECK(replies() == Lines{"gateway#7 holder=A", "ask"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what began anew here while another host wanted it is told the cluster") {
  registered();
  directory.register_all(kGateway);
  foreign(7, 6000);
  claim(kB, 2, true);  // another would be refused
  CHECK(told == 5000);
  answer(Where::unknown);
  const uint64_t here = epoch;
  REQUIRE(here > 6000);
  held(kB, 2);
  claim(kA, 3);
  CHECK(told == here);
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: of two hosts that went on with the same epoch the cluster chooses one") {
  registered();
  claim(kB, 2);
  held(kB, 2);
  replies();
  const uint64_t both = epoch;
  directory.on_registered("c", both, false);
  CHECK(replies() == Lines{"offline"});
  CHECK(epoch == both);
  directory.on_registered("c", both, false);
  CHECK(replies().empty());
  directory.on_registered("c", both + 1, false);
  CHECK(replies() == Lines{"B stale"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what is here is out of date while the cluster is asked") {
  registered();
  directory.register_all(kGateway);
  foreign(7, 4000);
  replies();
  claim(kB, 2);
  directory.on_registered("c", 9000, false);
  CHECK(replies() == Lines{"ask", "A stale"});
  answer(Where::elsewhere, 9500);
  CHECK(replies() == Lines{"B#2 holder=gateway", "gateway#7 holder=none"});
}

TEST_CASE_FIXTURE(Fixture, "cluster directory: what a dead gateway wanted is asked for again by its replacement") {
  registered();
  foreign(7, 6000);
  directory.on_worker_gone(kGateway);
  replies();
  claim(kB, 2);
  CHECK(replies() == Lines{"ask"});
  answer(Where::here, 7000);
  CHECK(replies() == Lines{"B#2 holder=A"});
}

}  // namespace session
