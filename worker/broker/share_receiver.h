// At a gateway: messages of other nodes for members of shared groups on this host. It picks a worker, which picks the
// member; if that worker refuses, the next is asked. The essay is in share_sender.h.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "shared/bus/message.h"
#include "worker/broker/core.h"
#include "worker/broker/node_inbox.h"
#include "worker/broker/node_shares.h"

namespace broker {

struct RemoteNode;
enum class SharedResult : uint8_t;

class ShareReceiver {
 public:
  ShareReceiver(Core& core, Gateway& gateway, NodeShares& shares);

  // `inbox`: where it came from, null: by datagram. False: malformed.
  bool on_publish(const RemoteNode& from, std::string_view body, NodeInbox* inbox);

  // --- workers ---
  bool on_result(const WorkerId& from, std::string_view body);
  void on_worker_gone(const WorkerId& worker);
  void on_worker_synced(Peer& worker);

 private:
  // Who wants to know what becomes of it.
  struct Asker {
    std::string node;
    uint64_t gateway = 0;
    uint64_t token = 0;
    NodeInbox* inbox = nullptr;
    uint64_t entry = 0;
  };
  struct Near {
    GroupKey group;
    bus::MessageRef message;
    std::vector<Asker> askers;
    std::set<uint32_t> unasked;  // workers that have not said yet whether they know it; then it is with nobody
    router::PeerSet refused;
    WorkerId with;        // the worker that was sent it
    bool sent = false;    // to `with`
    bool pinned = false;  // only the worker of that slot may be asked: its predecessor may have stored it
  };
  using Identity = std::tuple<uint64_t, uint64_t, GroupKey>;
  static Identity identity_of(const Near& near);
  void ask(uint64_t token, const Near& near, Peer& worker);
  void place(uint64_t token);
  void send(uint64_t token, Near& near, Peer& worker);
  void finish(uint64_t token, SharedResult result, const WorkerId& worker);
  void go(const WorkerId& worker, const Near& near);

  Core& core_;
  Gateway& gateway_;
  NodeShares& shares_;
  const router::SharedStrategy strategy_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, Near> under_way_;
  std::map<Identity, uint64_t> once_;  // QoS 2 ones of these
};

}  // namespace broker
