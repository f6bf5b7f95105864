// At a gateway: messages of its workers for members of shared groups on other hosts.
//
//   publisher's worker P      gateway                     gateway (share_receiver.h)     member's worker W
//     shared_publish ───────> picks a node ──inbox──────> picks a worker ──────────────> picks a member
//                    <─────── result       <──inbox────── result         <────────────── accepted, or refused: the next
//
// P keeps the message until it is accepted, whoever dies: so no gateway has to store anything. A QoS 1 message is
// simply sent again, to anybody. What has been refused everywhere (announcements cross messages) is refused to P if
// somebody of its own host may take it, and is tried again a little later otherwise.
//
// QoS 2 must not reach a second member, so who may have it must be asked again, and found for that:
//   - The node. P asks where the message would go (shared_where), notes the answer, in its store if the message is
//     there, and then names the node with the message (shared_at). After a death of P or of this gateway the message is
//     sent again marked as a repeat, to the same node. If that node is gone for good the message is given up: a member
//     may have had it.
//   - The worker. W remembers what its members were given. A gateway that gets a repeat, or reads what its predecessor
//     may have read, asks all its workers first (shared_known), also the replacements of dead ones, which know what is
//     stored. It has one of a kind under way at a time.
//   - The member whose session is not stored. Should its whole host die, nobody remembers that it had the message. So W
//     only reserves it, and gives it to the member when the host's answer is in Redis (shared_go): what is unanswered
//     after the death of a host has been given to nobody but stored sessions, which are there again.
//   - The inbox entry of a message stays until it is answered and the answer is in Redis.
//
// While Redis is away what is in flight waits. New messages are for members of this host if it has some, otherwise they
// wait, too (contract C8).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shared/bus/message.h"
#include "worker/broker/core.h"
#include "worker/broker/node_shares.h"

namespace broker {

struct RemoteNode;

class ShareSender {
 public:
  ShareSender(Core& core, Gateway& gateway, NodeShares& shares);

  // --- workers ---
  bool on_where(const WorkerId& from, std::string_view body);
  // `named`: shared_at.
  bool on_publish(const WorkerId& from, std::string_view body, const base::BufferRef& attachment, bool named);
  void on_worker_gone(const WorkerId& worker);

  // --- nodes ---
  bool on_result(const RemoteNode& from, std::string_view body);
  void on_forgotten(const std::string& node);
  // What was in the inboxes is lost.
  void on_redis_lost();
  // Now and then, and when something has changed: tries what waits, and gives on what a node that is not live has.
  void retry();

 private:
  struct Far {
    WorkerId from;
    uint64_t token = 0;  // the worker's
    GroupKey group;
    std::string publisher;
    bus::MessageRef message;  // null: the worker asks where
    std::string node;         // named by the worker
    bool repeat = false;
    router::PeerSet refused;  // by id; since it was last tried anew
    std::string at;           // the node it was sent to
    proto::QoS qos() const { return message ? message->qos() : proto::QoS::exactly_once; }
  };
  enum class Verdict : uint8_t { found, refuse, wait };
  Verdict choose(const Far& far, RemoteNode*& node);
  Verdict choose_named(const Far& far, RemoteNode*& node) const;
  void place(Far far);
  void send(RemoteNode& node, uint64_t token, Far far);
  void answer(const Far& far, bool accepted, std::string_view node = {});

  Core& core_;
  Gateway& gateway_;
  NodeShares& shares_;
  const router::SharedStrategy strategy_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, Far> sent_;  // by our token
  std::vector<Far> waiting_;
};

}  // namespace broker
