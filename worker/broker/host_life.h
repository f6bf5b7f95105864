// In a cluster, at a worker: whether what is stored here is still this host's.
//
// A host that was dead, or cut off or paused for too long, has gone on elsewhere (DESIGN section 7, "Adoption" in
// ARCHITECTURE.md): its sessions may have moved and ended there, its wills have fired. When it is back it begins
// another life, and what its copy in Redis had when that was whole last is given up here. The rest, younger than that,
// stays. A life that is new because Redis has lost everything changes nothing.
//
// So a worker that begins does not fire the wills of its store before it knows its host's life. While nobody can say
// which it is (gateway and Redis away since the host's start) they wait. If the host's lease had run out when it began
// its sessions are unsure then: what of them is stored may be at another host. Who wants to go on with one is answered
// as if it were held elsewhere (C8, redis_down); who begins anew does, and the will of what was there waits as well.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "worker/broker/core.h"

namespace broker {

struct Peer;

// Numbers below which everything was stored while the copy was whole: of what was accepted (Accepted), and of messages
// for other workers (Outbox).
struct CopiedTo {
  uint64_t accepted = 0;
  uint64_t outbox = 0;
};

class HostLife {
 public:
  explicit HostLife(Core& core) : core_(core) {}

  // From the store: "M" "life".
  bool restore(std::string_view value);
  // What a meta record of that name says, "accepted" or "outbox"; null: it is none of these.
  uint64_t* copied_to(std::string_view name);
  void on_loaded();
  // A session came from the store: Sessions::on_restored() when that may be.
  void on_restored(session::Session& session, uint64_t wall_ms, uint64_t alive_ms);
  // It did, and its timers and its will wait until the life is known.
  bool waits(const session::Session& session) const;
  // From the gateway.
  bool on_life(std::string_view body);
  // From another worker: it knows it, too, and what it has given up it has said before.
  bool on_peer_life(Peer& peer, std::string_view body);
  void sync_to(Peer& peer);
  // What the workers of this host have told they hold is of this life. Before that the cluster is not told of it.
  bool settled() const;
  bool unsettled() const { return known_ && !settled(); }
  // This worker accepts clients now.
  void on_ready();
  // The epoch up to which what is stored here is unsure; 0: nothing is.
  uint64_t unsure_until() const { return known_ || key_.empty() ? 0 : core_.env.unsure_until_us; }
  // Wall clock: what was stored until then was in a whole copy, as far as the store says.
  uint64_t copied_us() const { return copied_us_; }
  // Now and then.
  void show() const;
  // The copy is whole; and now and then.
  void note_copied();
  // It is not any more: what is stored from now on is not in it, nor what has these numbers or higher ones.
  void on_copy_ended(const CopiedTo& copied_to);

 private:
  struct Restored {
    uint64_t sid = 0;
    uint64_t epoch = 0;
    uint64_t wall_ms = 0;
    uint64_t alive_ms = 0;
  };
  void write();
  void tell(Peer& peer);
  void give_up_what_was_copied();
  void forget_seen();
  void go_on();

  Core& core_;
  bool known_ = false;
  bool changed_ = false;  // it is another than the store says
  uint64_t cluster_ = 0;
  std::string key_;         // of the node; empty: never told
  uint64_t copied_us_ = 0;  // wall clock: what was stored until then was in a whole copy
  CopiedTo copied_to_;
  // The store says that all in it is: whoever finds that there knows that it was so until the end of its writer.
  bool noted_whole_ = false;
  bool found_whole_ = false;  // when it was loaded
  std::map<router::SubscriberId, Restored> restored_;
};

}  // namespace broker
