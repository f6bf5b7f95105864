// The directory of client ids above those of the hosts (session/directory.h), at a gateway: carries the questions of
// the home workers here to the cluster and its answers back, and remembers on which node a session is that was claimed.
// DESIGN section 5.
//
//   home worker ── cluster_claim(least, held, id) ──> gateway ── claim ──> Redis
//               <─ cluster_granted(epoch, where) ─        <── epoch, the claimant before, or the holder
//        ... the session is pulled, from the gateway if it is elsewhere (node_imports.h) ...
//               ── cluster_held(epoch, outcome) ─>        ── hold / release / withdraw ──>
//               <─ cluster_registered(epoch, ours) ──     (hold only)
//
// What has ended here is held there for a while all the same, if a host may be apart from the others: until all have
// told what they hold, and what is older has been found out of date. So is what has begun without the cluster and ended
// (`unheard`).
//
// Whoever dies, or if Redis does not answer, something may be left in the directory that nobody will ever settle: a
// claim whose claimant and home have died, a session that ended when Redis was away. So some time after such a thing
// all that the directory has of this host is shown to the homes, and what they do not know is taken out.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "shared/cluster/hub.h"
#include "worker/broker/core.h"

namespace broker {

struct Peer;

class NodeDirectory {
 public:
  // `told(id, epoch, previous)`: this host holds the session now; `previous` is the node that it was moved from, as the
  // directory says (may be empty).
  using Told = std::function<void(const std::string& id, uint64_t epoch, const std::string& previous)>;
  // `kept(id)`: what was moved here did not become this host's: where it came from it stays.
  using Kept = std::function<void(const std::string& id)>;
  NodeDirectory(Core& core, Told told, Kept kept) : core_(core), told_(std::move(told)), kept_(std::move(kept)) {}

  // --- home workers ---
  bool on_claim(const WorkerId& from, std::string_view body);
  bool on_held(const WorkerId& from, std::string_view body);

  // The cluster can be reached now, as `key`; or not any more.
  void on_joined(const std::string& key);
  void on_lost();
  // What one had claimed that died may be nobody's now.
  void on_workers_changed() { sweep_soon(); }
  // Goes on with what waits for room.
  void run();

  // The node that had the id when it was claimed for this host; empty: not known (any more).
  std::string claimed_from(std::string_view id) const;
  void forget(std::string_view id) { claimed_.erase(std::string(id)); }
  // It has ended here, and the cluster is to know for a while yet.
  bool is_over(const std::string& id) const { return over_.contains(id); }

  // Another host has that session, with that epoch: what is here, and may not have been told yet, is older.
  void note_stale(const std::string& id, uint64_t epoch);
  // Tells the home so, if what it may hold has a lower epoch than that, `held`.
  bool tell_stale(const WorkerId& home, const std::string& id, uint64_t held);

 private:
  static constexpr size_t kMaxStale = 65536;
  static constexpr size_t kMaxOver = 65536;
  static constexpr size_t kMaxOutstanding = 4 * 1024 * 1024;  // of the hub, when registering
  struct Settled {
    WorkerId home;
    std::string id;
    uint64_t epoch = 0;
    session::Directory::Outcome outcome = session::Directory::Outcome::kept;
  };
  void answer(const WorkerId& home, std::string_view id, session::Directory::Where where, uint64_t epoch);
  void on_claimed(const WorkerId& home, const std::string& id, cluster::Status status, const cluster::Claimed& claimed);
  void settle(const Settled& s);
  void hold(const Settled& s);
  void release_over();
  void answer_registered(const Settled& s, bool ours);
  void sweep_soon();
  void sweep();
  void show(const cluster::Hub::Mine& mine);

  Core& core_;
  const Told told_;
  const Kept kept_;
  std::string key_;
  bool joined_ = false;
  std::unordered_map<std::string, uint64_t> stale_;  // the newest kMaxStale
  std::deque<std::string> stale_order_;
  std::map<std::string, std::string> claimed_;  // id -> node, until it is settled
  std::deque<Settled> settled_;                 // to be told the cluster
  std::map<std::string, Settled> refused_;      // for want of room in Redis
  std::map<std::string, Settled> over_;         // has ended, and is to be released when all have told
  base::MonoMs retry_at_ = 0;
  base::MonoMs sweep_at_ = 0;  // 0: nothing to be swept
  uint32_t swept_ = 0;         // parts of the directory
};

}  // namespace broker
