// Sessions on their way here from other hosts: to the worker that claims one (B), this gateway is its holder.
// The protocol is takeovers.h's, over two hosts; node_exports.h is the other end.
//
//   worker B (here)      gateway here                         gateway of the old owner's host      other gateways
//     pull ────────────────> pull ────────────────────────────────> (claims and pulls it there)
//     <─────── state_begin <────────────────────────── state_begin
//     routes, cut_request ─> routes, cut_request ─────────────────> cuts its workers' streams
//                            cut_request ──────────────────────────────────────────────────────────> cut, into the
//                            <──────────────────────────────────────────────────────────── cut_sent  stream to the
//     local workers: cut ──> cut (behind what they sent before) ──>                                  old owner's host
//     freeze ──────────────> freeze(all those cuts) ──────────────> when all have come: freeze, at the old owner
//     <─ state_…, state_end <────────────────────── state_…, state_end
//     stored: held ─> home ─> hold (Redis) ─> stale ──────────────> the old owner forgets it
//
// The old owner keeps the session until `stale`. Whoever dies in between: the worker here: the old owner is told to
// abort; the gateway here: its replacement pulls again, and the old owner's gateway drops what the dead one had begun;
// the gateway there, or the old owner: the state begins anew (restart); the old owner's host: when its lease has run
// out, a client that begins anew does so (its host is told when it is back), and one that wants its session is refused.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/shared_buffer.h"
#include "shared/bus/frames.h"
#include "worker/broker/core.h"
#include "worker/broker/node_frames.h"

namespace broker {

struct Peer;
struct RemoteNode;

class NodeImports {
 public:
  explicit NodeImports(Core& core) : core_(core), next_token_(core.self.incarnation) {}

  // --- workers here ---
  bool on_pull(const WorkerId& from, std::string_view body);
  // The client has gone. If nothing has come of the session it stays where it is.
  bool on_abort(const WorkerId& from, std::string_view body);
  // A worker's stream to the old owner is cut: so it is behind what we have passed on of it.
  bool on_cut(const WorkerId& from, std::string_view body);
  bool on_cut_request(const WorkerId& from, std::string_view body);
  bool on_freeze(const WorkerId& from, std::string_view body);
  void on_worker_gone(const WorkerId& worker);
  void on_worker_synced(uint32_t slot);

  // --- nodes ---
  bool on_state(RemoteNode& from, NodeFrame type, std::string_view body);
  bool on_cut_sent(RemoteNode& from, std::string_view body);
  // It has another gateway, or is gone.
  void on_gateway_changed(RemoteNode& node);
  void on_node_gone(const std::string& key);
  // What came of a session that has come here: it is this host's, or its old owner keeps it.
  void on_settled(const std::string& id, bool ours);
  // Redis is there again, and may have lost what was said: all is begun anew.
  void on_joined();

  // Now and then: what is asked of a host that is down is not to be had now.
  void run();

  size_t active() const { return imports_.size(); }

 private:
  struct Import {
    WorkerId worker;
    uint64_t claim = 0;  // the worker's number
    uint64_t epoch = 0;
    bool clean = false;
    std::string id;
    std::string node;             // key; empty: not known
    uint64_t before = 0;          // nobody has it who claimed it from this epoch on, up to ours
    bool begun = false;           // state_begin has been passed on
    std::set<std::string> asked;  // nodes that have not said cut_sent
    bool cut_requested = false;
    // Whose cut went before: incarnations of workers here, and of other nodes' gateways, with their node.
    std::map<uint64_t, std::string> cuts;
    bool freeze = false;        // the worker has said so
    std::set<uint64_t> wanted;  // the workers' streams that it named
    bool frozen = false;
  };
  using Imports = std::map<uint64_t, Import>;  // by token

  Imports::iterator find(const WorkerId& worker, uint64_t claim);
  void reclaim(uint64_t token);
  void pull(uint64_t token, Import& import);
  // The session is not where it was looked for, or that node is gone: who claimed it before that may be about to have
  // it (or had it, and it has come here already); or else it is nowhere.
  void look_again(uint64_t token);
  void look_at(Imports::iterator it, const cluster::Claimed& before);
  // The state comes once more, from the beginning.
  void begin_anew(Import& import);
  static void new_round(Import& import);
  void tell_nothing(const Import& import);
  void tell_not_found(const Import& import);
  void refuse(const Import& import);
  // The worker is to claim it anew, and so its home, which has the cluster say where it is.
  void tell_to_reclaim(const Import& import);
  void abort(const std::string& node, uint64_t token);
  void abort_unknown(const std::string& node, uint64_t token);
  void freeze_if_cut(uint64_t token, Import& import);
  // That node has another gateway, or is gone: no cut of its stream is waited for.
  void forget_cut(uint64_t token, Import& import, const std::string& node);
  void send(const Import& import, bus::FrameType type, std::string_view body);

  Core& core_;
  Imports imports_;
  struct Arrived {  // and not settled
    std::string node;
    uint64_t token = 0;
    WorkerId worker;
    bool gone = false;  // the worker
    base::MonoMs abort_at = 0;
  };
  std::map<std::string, Arrived> arrived_;  // by client id
  uint64_t next_token_;                     // no predecessor has used it: answers to that may still come
};

}  // namespace broker
