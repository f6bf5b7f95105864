// In a cluster: messages of sessions that went on elsewhere while this host was cut off.
//
// What a session got here after its copy was not kept any more is in its queue here only. When the host learns that the
// session is another's now, it is sent after it, to the end of its queue (DESIGN section 7, netsplit: at least once).
//
//   worker ──stray──> gateway ──holder(client)──> stream of that node ──> its gateway ──stray──> the worker that has it
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/broker/core.h"

namespace broker {

// At a worker.
class Strays {
 public:
  explicit Strays(Core& core) : core_(core) {}

  // The session goes on elsewhere, and is about to be forgotten here.
  void send_after(session::Session& session);
  // From now on no copies are kept. `not_copied`: by sid, from which position on it had not been copied yet.
  void on_copies_ended(const std::unordered_map<uint64_t, uint64_t>& not_copied);
  void on_copies_whole();
  // A message of a session gets its place in the store.
  void on_placed(session::Session& session, const session::Delivery& delivery);
  // A session has been loaded. What its head says: since when, and from which position on, it has messages that are not
  // copied; 0: none since the copy was whole last.
  void restore(session::Session& session, uint64_t since_us, uint64_t from);
  // From the gateway: for a session of this host.
  bool on_stray(std::string_view body);

 private:
  bool was_given(const session::Session& session, const bus::Uid& once) const;

  // What QoS 2 messages sessions were given last: one may be sent after a session that has had it by its route, in
  // front of that, and is done with it.
  static constexpr size_t kGivenKept = 8192;
  struct Given {
    bus::Uid once;
    size_t session = 0;  // hash of its client id
    bool operator==(const Given&) const = default;
  };

  Core& core_;
  std::vector<Given> given_;
  size_t next_given_ = 0;
};

// At a gateway.
class NodeStrays {
 public:
  explicit NodeStrays(Core& core) : core_(core) {}

  bool on_worker_stray(std::string_view body);
  bool on_node_stray(std::string_view body);
  void on_joined();

 private:
  void ask(std::string body);
  void tell_workers(std::string_view body);

  Core& core_;
  std::deque<std::string> waiting_;  // bodies, until Redis is there
};

}  // namespace broker
