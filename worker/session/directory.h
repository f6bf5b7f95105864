// The directory: for every client id whose home is this worker, who holds its session and who may take it next.
// Pure: events in, replies out through an interface. DESIGN section 5.
//
// One entry a client id:
//
//            claim                     held
//   free/held ──────> transferring ──────────> held by the claimant
//                        claims that come meanwhile wait
//
// A grant names the present holder; the claimant pulls the session from it and reports how it ended. So at most one
// transfer per client id is under way. Then the newest waiting claim is granted, and the usual takeover closes the one
// before. Older ones that wait are told `superseded` only when a newer one has gone live: the newest may turn out to be
// a client that has hung up. Epochs grow: max(last + 1, wall-clock microseconds).
// A worker that replaces a dead home is told by every peer what it holds and what it is pulling (holding()) before it
// handles any claim. Two may hold one session for a while (a takeover whose end one of them has not heard of, or did
// not live to write down): the higher epoch is the owner's, the other is told `stale`. An entry stays until who was
// told so has answered, or its replacement has told what it has: what is loaded there would be taken for the session if
// the newer one has ended meanwhile. And what ended while a home was dead its replacement is told.
// A grant waits until every connection has been closed that the claimant does not close by pulling: of a session that
// is out of date, and of what is held here while the session is pulled from another host.
//
// In a cluster the same id has a home on every host, and above them there is one more directory. This one asks it
// (`ask`) before it grants an id of which the cluster has not confirmed that this host holds it, and tells it what came
// of that (`settled`). The gateway then stands for all other hosts: it is named as the holder of what they hold, and
// claims for them what this host has.
//
// What begins while the cluster cannot be asked is `unheard` of, and so is its end. The home keeps that in its store,
// before the grant, until the cluster has heard of it: what has a lower epoch anywhere is out of date. So of lives that
// hosts began without each other the one counts that began last, by their clocks, whether or not it lasts.
//
// Such a foreign claim has been decided by the cluster, so it does not ask. It waits for a transfer under way here that
// the cluster had decided before, but not for a later one: that one waits, over some hosts, for the foreign one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/base/clock.h"

namespace session {

struct WorkerId {
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  bool operator==(const WorkerId&) const = default;
};

class Directory {
 public:
  // How a transfer ended: the claimant's client is live with the session (kept); it has the session, but the client has
  // gone (offline); the session has ended; or it did not pull, since the client had gone before, so the holder is who
  // it was. And what only the cluster is told: a life that it has not heard of has ended.
  enum class Outcome : uint8_t { kept, offline, ended, not_pulled, unheard };
  struct Replies {
    virtual ~Replies() = default;
    // `holder` is where the session is; none: nowhere.
    virtual void grant(const WorkerId& to, uint64_t claim, uint64_t epoch, const std::optional<WorkerId>& holder) = 0;
    virtual void superseded(const WorkerId& to, uint64_t claim) = 0;
    // What `to` has of that id is out of date if its epoch is below this one: it must forget it, and on_forgotten() is
    // to follow when it has for good.
    virtual void stale(const WorkerId& to, std::string_view id, uint64_t epoch) = 0;
    // Another connection is to go live: `to` closes the one it has with a session below that epoch, and keeps the
    // session. true: on_hung_up() is to follow. false: it has been done, or `to` is not there (any more).
    virtual bool hang_up(const WorkerId& to, std::string_view id, uint64_t epoch) = 0;
    // The session may be on another host, which cannot be asked now.
    virtual void refused(const WorkerId& to, uint64_t claim) = 0;

    // --- in a cluster ---
    // Claims the id for this host; on_answer() is to follow. The epoch must be `at_least` this one. `held`: with which
    // this host holds it, for all it knows; the cluster is to hear of that first. 0: it does not. Who was asked; none:
    // nobody is there, register_all() is to come.
    virtual std::optional<WorkerId> ask(std::string_view id, uint64_t at_least, uint64_t held) = 0;
    // What became of it: this host holds the id (kept, offline), nobody does any more (ended, unheard), or the claim
    // has come to nothing (not_pulled). on_registered() is to follow if this host holds it, or it was unheard of.
    virtual void settled(std::string_view id, uint64_t epoch, Outcome outcome) = 0;
    // The id's last life here of which the cluster has not heard, to be restored should this worker die:
    // restore_unheard(). 0: there is none. true: on_noted() is to follow when it is stored.
    virtual bool note_unheard(std::string_view id, uint64_t epoch) = 0;
  };
  // `accept_unknown`: without an answer of the cluster a session that may be elsewhere is begun anew.
  Directory(const base::Clock& clock, Replies& replies, bool clustered = false, bool accept_unknown = false)
      : clock_(clock), replies_(replies), clustered_(clustered), accept_unknown_(accept_unknown) {}

  // A worker wants the session of `id` for a new connection, or, `clean`, to begin it anew. `claim` is the claimant's
  // own number. `foreign`: the gateway wants it for another host, with the epoch that the cluster gave it; 0: no.
  void on_claim(const WorkerId& from, std::string_view id, uint64_t claim, bool clean = false, uint64_t foreign = 0);
  // The claimant's transfer is over. REQUIRES: what Outcome says is true of it.
  void on_held(const WorkerId& from, std::string_view id, uint64_t claim, Outcome outcome);
  // The holder's session has ended. Ignored unless it is the holder with that epoch, or may have been.
  void on_release(const WorkerId& from, std::string_view id, uint64_t epoch);
  // The answer to `stale`.
  void on_forgotten(const WorkerId& from, std::string_view id);
  // The answer to `hang_up`.
  void on_hung_up(const WorkerId& from, std::string_view id);
  // This worker starts: until on_ready() it may be told in any order what is held and what has ended.
  void on_starting() { starting_ = true; }
  void on_ready();
  // While this worker starts: what a peer holds (claim = 0) or is pulling (its claim number), for another host or not.
  void on_holding(const WorkerId& from, std::string_view id, uint64_t epoch, uint64_t claim, bool foreign = false);
  // A worker died: its claims are void. What it held, or was about to, is in its store, and its replacement's to tell:
  // until then nobody is granted what it claimed.
  void on_worker_gone(const WorkerId& gone);
  // A worker has told everything it holds: what its predecessors in that slot held besides is gone.
  void on_worker_synced(const WorkerId& worker);

  // --- in a cluster ---
  // The answer to ask(): the session is here or nowhere, on another host, or the cluster cannot be asked now. `left` is
  // none: the cluster has a claim of this host with that epoch, which may be left over.
  enum class Where : uint8_t { here, elsewhere, unknown, left };
  // `gateway`: who stands for the other hosts.
  void on_answer(std::string_view id, Where where, uint64_t epoch, const WorkerId& gateway);
  // The cluster agrees that this host holds it (and if it does not, it is told so); or not: what has a lower epoch here
  // is out of date.
  void on_registered(std::string_view id, uint64_t epoch, bool ours);
  // The cluster is there again, or was never told: nothing is confirmed, all that is held is told, and what `gateway`
  // was not asked is asked again. (What it was it answers: two answers were two claims, and the second the one that
  // counts.)
  void register_all(const std::optional<WorkerId>& gateway);
  // It cannot be asked any more: nothing is confirmed. `gateway` will say so of what it was not asked.
  void on_cluster_lost(const std::optional<WorkerId>& gateway);
  // What was asked nobody, or another one who is dead, is asked `gateway`.
  void ask_again(const std::optional<WorkerId>& gateway);
  void on_noted(std::string_view id, uint64_t epoch);
  // While this worker starts.
  void restore_unheard(std::string_view id, uint64_t epoch);

  // What is held here with an epoch up to this one may be elsewhere, of which only the cluster knows. 0: nothing.
  void set_unsure_until(uint64_t epoch) { unsure_until_ = epoch; }

  size_t size() const { return entries_.size(); }
  size_t unheard() const { return unheard_.size(); }

  static constexpr size_t kUnheardKept = 100'000;  // the newest

 private:
  struct Claim {
    WorkerId from;
    uint64_t number = 0;
    bool clean = false;
    uint64_t foreign = 0;
    bool operator==(const Claim&) const = default;
  };
  struct Entry {
    uint64_t epoch = 0;  // of the newest grant
    std::optional<WorkerId> holder;
    uint64_t holder_epoch = 0;         // of the holder's session: an earlier grant's if later claimants did not pull
    uint64_t past = 0;                 // whatever has an epoch below this is out of date
    std::vector<WorkerId> forgetting;  // were told so, and have not answered
    std::vector<WorkerId> hanging_up;  // likewise
    std::optional<Claim> transferring;
    bool granting = false;            // it has its epoch, and waits for `hanging_up` and `noting`
    bool noting = false;              // that epoch is being stored
    uint64_t unheard = 0;             // as note_unheard() has it
    bool asking = false;              // the claim waits for on_answer()
    bool asked = false;               // the cluster has been asked for `transferring`, and is to hear what came of it
    std::optional<WorkerId> answers;  // whom it asked
    bool registered = false;          // the cluster has confirmed that this host holds it
    bool untold = false;              // it was to be told so while it was being asked
    std::optional<WorkerId> remote;   // the gateway, while a transfer from another host is under way
    // Claims of other hosts, in the order in which the cluster decided them; the first may be under way beside
    // `transferring`, see serve().
    std::vector<Claim> foreign;
    bool serving = false;
    uint64_t served = 0;  // the epoch with which it goes there: what is here with a lower one is out of date then
    // The gateway died that was giving it to another host: what is held with an epoch up to this one may have come
    // there, as long as the cluster has not said that it is this host's. 0: nothing.
    uint64_t unsure_until = 0;
    std::optional<WorkerId> doubt;  // a claimant that died: it may have stored the session, its replacement will tell
    size_t older = 0;               // how many of `waiting` came before the transferring one
    std::vector<Claim> waiting;     // in the order they came
  };
  using Entries = std::unordered_map<std::string, Entry>;

  void start(Entries::value_type& item, const Claim& claim);
  void grant(Entry& entry);
  void grant_unheard(Entries::value_type& item);
  bool set_unheard(Entries::value_type& item, uint64_t epoch);
  // The cluster is to hear that nobody here holds the id any more; or of what is left after a claim that came to
  // nothing.
  void tell_ended(const std::string& id, const Entry& entry);
  void tell_what_is_left(const std::string& id, const Entry& entry);
  void choose_epoch(Entry& entry);
  // When nobody else can be live.
  void grant_when_alone(Entry& entry);
  // Nobody else can be live any more.
  void on_alone(const std::string& id);
  void ask(Entries::value_type& item);
  void serve(Entries::value_type& item);
  bool on_foreign_held(Entries::iterator it, const WorkerId& from, uint64_t claim, Outcome outcome);
  void tell_stale(Entries::value_type& item, const WorkerId& who, uint64_t epoch);
  // The same, of one that may have a connection.
  void outdate(Entries::value_type& item, const WorkerId& who, uint64_t epoch);
  void outdate_holder(Entries::value_type& item, uint64_t epoch);
  void hang_up(Entries::value_type& item, const WorkerId& who, uint64_t epoch);
  // After a transfer ended: grants the waiting claim or drops an entry that says nothing.
  void settle(Entries::iterator it);

  const base::Clock& clock_;
  Replies& replies_;
  const bool clustered_;
  const bool accept_unknown_;
  Entries entries_;
  std::set<std::pair<uint64_t, std::string>> unheard_;  // the ids that have such a life, by its epoch
  uint64_t last_epoch_ = 0;
  uint64_t unsure_until_ = 0;
  bool starting_ = false;
};

}  // namespace session
