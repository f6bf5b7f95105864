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
// not live to write down): the higher epoch is the owner's, the other is told `stale`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
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
  struct Replies {
    virtual ~Replies() = default;
    // `holder` is where the session is; none: nowhere.
    virtual void grant(const WorkerId& to, uint64_t claim, uint64_t epoch, const std::optional<WorkerId>& holder) = 0;
    virtual void superseded(const WorkerId& to, uint64_t claim) = 0;
    // What `to` has of that id is out of date if its epoch is below this one: it must forget it.
    virtual void stale(const WorkerId& to, std::string_view id, uint64_t epoch) = 0;
  };
  Directory(const base::Clock& clock, Replies& replies) : clock_(clock), replies_(replies) {}

  // A worker wants the session of `id` for a new connection. `claim` is the claimant's own number.
  void on_claim(const WorkerId& from, std::string_view id, uint64_t claim);
  // The claimant's transfer is over: its client is live with the session (kept); it has the session, but the client has
  // gone (offline); the session has ended; or it did not pull, since the client had gone before, so the holder is who
  // it was.
  enum class Outcome : uint8_t { kept, offline, ended, not_pulled };
  void on_held(const WorkerId& from, std::string_view id, uint64_t claim, Outcome outcome);
  // The holder's session has ended. Ignored unless it is the holder with that epoch.
  void on_release(const WorkerId& from, std::string_view id, uint64_t epoch);
  // While this worker starts: what a peer holds (claim = 0) or is pulling (its claim number).
  void on_holding(const WorkerId& from, std::string_view id, uint64_t epoch, uint64_t claim);
  // A worker died: its claims are void. What it held, or was about to, is in its store, and its replacement's to tell:
  // until then nobody is granted what it claimed.
  void on_worker_gone(const WorkerId& gone);
  // A worker has told everything it holds: what its predecessors in that slot held besides is gone.
  void on_worker_synced(const WorkerId& worker);

  size_t size() const { return entries_.size(); }

 private:
  struct Claim {
    WorkerId from;
    uint64_t number = 0;
    bool operator==(const Claim&) const = default;
  };
  struct Entry {
    uint64_t epoch = 0;  // of the newest grant
    std::optional<WorkerId> holder;
    uint64_t holder_epoch = 0;  // of the holder's session: an earlier grant's if later claimants did not pull
    std::optional<Claim> transferring;
    std::optional<WorkerId> doubt;  // a claimant that died: it may have stored the session, its replacement will tell
    size_t older = 0;               // how many of `waiting` came before the transferring one
    std::vector<Claim> waiting;     // in the order they came
  };
  using Entries = std::unordered_map<std::string, Entry>;

  void start(Entry& entry, const Claim& claim);
  // After a transfer ended: grants the waiting claim or drops an entry that says nothing.
  void settle(Entries::iterator it);

  const base::Clock& clock_;
  Replies& replies_;
  Entries entries_;
  uint64_t last_epoch_ = 0;
};

}  // namespace session
