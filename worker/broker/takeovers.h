// A takeover moves a session from worker A to worker B while workers P publish to it; no message in motion is lost,
// doubled or reordered, whoever of them dies in the middle. DESIGN section 5.
//
//   B ──pull──> A            A closes the old connection and stays the owner: it goes on storing what comes
//   B <─state_begin── A      what the session is, its subscriptions. B subscribes, and holds what comes for it
//   B ──cut_request──> P     every worker, behind B's routes: from here on P sends to both
//       P ──cut──> A         in P's stream, behind all that went to A alone
//       P ──cut_sent──> B
//   B ──freeze──> A          all have cut. When their cuts have come, what A has is complete:
//   B <─state… state_end(seen)── A    in flight, queue, and how far A has read every worker's stream
//   B: appends what it holds beyond that (and skips what comes late of the rest), commits, tells the home; CONNACK
//   A <─stale── home         A forgets the session
//
// A sends nothing while some worker is dead, or its replacement has not yet routed again what it had accepted: that
// would come to A, or be known to B from others' sessions, and so miss this one. Nor does B say freeze then: A may not
// have heard of a death yet that B knows of, and would not wait for the end of that stream.
//
// From the cut on both sides get every message, so both are complete until `stale`, and it does not matter which of
// them dies: before B's commit the session is A's still (A notices B's death and takes it back), after it B's, whose
// higher epoch tells. Nobody's death needs repair: a dead P's end of stream stands for its cut; a dead A is pulled
// again when its replacement is there (B holds on meanwhile); if B dies A goes on.
//
// What A had accepted of a client that publishes at QoS 2, and what B accepts of it, have an order: everybody has read
// the former before A sends the session.
//
// Shared groups: B is a member from state_begin on, A until it is frozen; the messages of a group go to one of them.
// What B is chosen for meanwhile stays with its dispatcher (shared_dispatch.h). A sends its state when what is in it is
// in its store: its replacement must know what a member was given. When A takes the session back, B may have stored it
// all the same; until everybody has told, A is given nothing of groups (Session::unconfirmed).
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "worker/broker/core.h"
#include "worker/broker/tickets.h"
#include "worker/session/takeover_state.h"

namespace broker {

struct Peer;

class Takeovers {
 public:
  explicit Takeovers(Core& core) : core_(core) {}

  // At A: state_begin has been sent to `to` (its claim).
  void start_outbound(session::Session& session, const WorkerId& to, uint64_t claim);
  // At A: its client has come back here, while it was on its way to another host: it stays.
  void stay(session::Session& session);
  // At A: it is out of date. Who pulls it from here is to claim it anew, where it is now.
  void on_stale(const session::Session& session);
  // At B: the session's subscriptions have come from `from` under our claim and are announced. Also again, when `from`
  // is the replacement of a dead A.
  void start_inbound(session::Session& session, const WorkerId& from, uint64_t claim);
  // At B: a message matched a session that is moving here. Uses the current ticket.
  void hold(session::Session& session, session::Delivery delivery);
  // At B: the state is complete: puts what was held behind it, as far as `seen`, A's, does not have it.
  // Returns the tickets of what was held: they wait until the session is stored.
  std::vector<TicketId> finish_inbound(session::Session& session, const std::map<uint64_t, uint64_t>& seen);
  // The old owner had that message of its worker's stream already. REQUIRES: session.skip.
  static bool skips(session::Session& session, const bus::Message& message);
  // The session came with that message, which is being routed again after the death of the worker that accepted it.
  static bool skips_once(const session::Session& session, const bus::Message& message);
  // Before a session is destroyed.
  void on_session_ending(session::Session& session);

  void sync_to(Peer& peer);
  void on_peer_gone(const WorkerId& peer);
  // Peers::all_recovered() may have become true.
  void on_recovered();
  bool on_cut_request(Peer& from, std::string_view body);
  bool on_cut(uint64_t origin, std::string_view body);
  bool on_cut_sent(const WorkerId& from, std::string_view body);
  bool on_freeze(const WorkerId& from, std::string_view body);
  // The claimant has given up: the session stays.
  bool on_abort(const WorkerId& from, std::string_view body);

  size_t active() const { return inbound_.size() + outbound_.size(); }

 private:
  struct Key {
    uint64_t to_incarnation = 0;
    uint64_t claim = 0;
    auto operator<=>(const Key&) const = default;
  };
  void ask(Peer& peer, session::Inbound& inbound);
  void freeze_if_cut(session::Session& session);
  void send_if_complete(session::Session& session);
  void send_when_read(const Key& key);
  void send(const Key& key);
  void take_back(session::Session& session);
  void go_on(session::Session& session);

  Core& core_;
  std::map<uint64_t, session::Session*> inbound_;  // by our claim number
  std::map<Key, session::Session*> outbound_;
};

}  // namespace broker
