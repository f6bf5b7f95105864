// A takeover is a cut in every stream: no message in motion is lost, doubled or reordered when a session moves from
// worker A to worker B while workers P publish to it. DESIGN section 5.
//
// Every worker numbers the messages it routes. A cut of stream P is a number c: P's messages up to c reach the session
// through A, later ones through B.
//
//   B has the state: it subscribes (routes are announced first), then asks every worker P (itself and A too):
//
//     B ──cut_request──> P        P answers in its own streams, at one moment c:
//                        P ──cut(c)──> A      and      P ──cut(c)──> B
//
//     A  forwards P's messages ≤ c to B; when P's cut has come, it says part_end(P)      (A's session is a ghost)
//     B  holds P's messages until part_end(P), then delivers those > c behind A's part
//
//   When all parts are done B tells A (takeover_done) and the ghost goes.
//
// Takeovers chain (A → B → C, and back): a session at B may be a receiver (Inbound, from A) and a ghost (Outbound, to
// C) at once. Then what A forwards and what B's gates let pass goes on to C if it is ≤ the second cut, and B says
// part_end(P) only when its own inbound part of P is complete. Cuts carry numbers, so it does not matter in which order
// P processes two cut requests. A dead P: the end of its stream stands for its cut. A dead A: its part ends with what
// it has forwarded, and B delivers the rest from what it holds.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "worker/broker/core.h"
#include "worker/session/takeover_state.h"

namespace broker {

struct Peer;

class Takeovers {
 public:
  explicit Takeovers(Core& core) : core_(core) {}

  // At A: the session has been sent to `to` (its claim): from now on it only forwards.
  void start_outbound(session::Session& ghost, const WorkerId& to, uint64_t claim);
  // At B: the session has arrived from `from` under our claim number and its subscriptions are announced.
  void start_inbound(session::Session& session, const WorkerId& from, uint64_t claim);

  // A message matched a session that is moving.
  void deliver(session::Session& session, session::Delivery delivery);
  // A shared group's message for a ghost: no cut applies, it is forwarded.
  void forward_ungated(session::Session& ghost, const session::Delivery& delivery);
  // Before a session or ghost is destroyed.
  void on_session_ending(session::Session& session);

  void sync_to(Peer& peer);
  void on_peer_gone(const WorkerId& peer);
  bool on_cut_request(const WorkerId& from, std::string_view body);
  bool on_cut(uint64_t origin, std::string_view body);
  bool on_forward(uint32_t from, std::string_view body, const base::BufferRef& attachment);
  bool on_part_end(std::string_view body);
  bool on_part_request(const WorkerId& from, std::string_view body);
  bool on_done(const WorkerId& from, std::string_view body);

  size_t active() const { return inbound_.size() + ghosts_.size(); }

 private:
  struct GhostKey {
    uint64_t to_incarnation = 0;
    uint64_t claim = 0;
    auto operator<=>(const GhostKey&) const = default;
  };
  void cut_here(const WorkerId& owner, uint64_t claim, const WorkerId& old_owner);
  void note_cut(uint64_t owner_incarnation, uint64_t claim, uint64_t origin, uint64_t sequence);
  void hold(session::Inbound& inbound, session::Inbound::Gate& gate, session::Delivery delivery);
  void pass(session::Session& session, session::Delivery delivery);
  bool still_wants(const session::Session& session, std::string_view topic) const;
  void send_forward(session::Session& ghost, const session::Delivery& delivery, bool gated);
  void open_gate(session::Session& session, uint64_t origin);
  // Says part_end(origin) if that origin's part is complete here.
  void try_part_end(session::Session& ghost, uint64_t origin);
  void check_inbound_done(session::Session& session);
  void send_request(Peer& peer, const session::Inbound& inbound);
  void tell_done(const session::Inbound& inbound);

  Core& core_;
  std::map<uint64_t, session::Session*> inbound_;  // by our claim number
  std::map<GhostKey, session::Session*> ghosts_;
};

}  // namespace broker
