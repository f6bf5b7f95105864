// Sessions of this host on their way to other hosts: to its owner here (A), this gateway is the worker that claims it.
// The other end of node_imports.h, which has the protocol.
//
// It claims the id of its home here like a worker, so that what happens to it on this host happens in an order. Such a
// claim is `foreign`: the cluster has decided it already.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

class NodeExports {
 public:
  explicit NodeExports(Core& core) : core_(core) {}

  // --- nodes ---
  bool on_pull(RemoteNode& from, std::string_view body);
  // For a session of this host, or, if it is another's, to be passed into our stream to that host.
  bool on_cut_request(RemoteNode& from, std::string_view body);
  bool on_cut(std::string_view body);
  bool on_freeze(RemoteNode& from, std::string_view body);
  bool on_abort(RemoteNode& from, std::string_view body);
  // The session is safe elsewhere with that epoch.
  bool on_stale(RemoteNode& from, std::string_view body);
  // What an earlier gateway of it, or it at all, had asked for comes to nothing.
  void on_gateway_changed(const RemoteNode& node);
  void on_node_gone(const std::string& key);
  void on_redis_lost();

  // --- workers here ---
  bool on_grant(std::string_view body);
  bool on_state(const WorkerId& from, bus::FrameType type, std::string_view body, const base::BufferRef& attachment);
  bool on_cut_sent(const WorkerId& from, std::string_view body);
  void sync_to(Peer& peer);         // before sync_end
  void on_peer_linked(Peer& peer);  // after it
  void on_peer_gone(const WorkerId& worker);
  // Once a turn: what waited for messages held back.
  void run();

  size_t active() const { return exports_.size(); }

 private:
  struct Export {
    std::string node;
    uint64_t gateway = 0;  // of that node: its token is its
    uint64_t token = 0;
    std::string id;
    uint64_t epoch = 0;
    bool clean = false;
    bool granted = false;
    bool aborted = false;  // before it was granted
    WorkerId holder;
    bool pulling = false;
    bool begun = false;  // state_begin has been passed on
    bool done = false;   // and state_end
    bool cut_requested = false;
    std::set<uint64_t> asked;    // workers that have not said cut_sent
    std::set<uint64_t> streams;  // workers that have cut theirs
    std::set<uint64_t> cuts;     // whose cut has come from other hosts
    std::optional<std::set<uint64_t>> wanted;
    bool freezing = false;
  };
  using Exports = std::map<uint64_t, Export>;  // by our claim's number

  Exports::iterator find(const RemoteNode& from, uint64_t token);
  void claim(uint64_t number, const Export& e);
  void pull(uint64_t number, Export& e);
  void report(const Export& e, uint64_t number, session::Directory::Outcome outcome);
  void say(const Export& e, char what);
  void forget_in_directory(const Export& e);
  void restart(Export& e);
  void freeze_if_cut(uint64_t number, Export& e);
  Exports::iterator abort(Exports::iterator it);

  Core& core_;
  Exports exports_;
  uint64_t next_number_ = 1;
};

}  // namespace broker
