// In a cluster, in the last slot of a host: what this host's workers and the other hosts say to each other, through
// cluster::Hub. ARCHITECTURE.md, "A cluster of hosts". DESIGN section 7.
//
// To the workers it is a peer like each other: it announces what other nodes want, takes their publishes, and passes on
// what comes from other nodes. To the nodes it speaks for all its workers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "shared/cluster/hub.h"
#include "worker/broker/core.h"
#include "worker/broker/datagrams.h"
#include "worker/broker/node_copies.h"
#include "worker/broker/node_directory.h"
#include "worker/broker/node_exports.h"
#include "worker/broker/node_frames.h"
#include "worker/broker/node_imports.h"
#include "worker/broker/node_inbox.h"
#include "worker/broker/node_parts.h"
#include "worker/broker/node_routes.h"
#include "worker/broker/node_shares.h"
#include "worker/broker/node_stream.h"
#include "worker/broker/retained_sync.h"
#include "worker/broker/share_receiver.h"
#include "worker/broker/share_sender.h"
#include "worker/broker/strays.h"

namespace broker {

struct Peer;
enum class Told : uint8_t;

// A message that waits until it is known who wants it; or, without one, a frame that goes behind it to the node `to`.
struct Waiting {
  bus::MessageRef message;
  TicketId ticket = kNoTicket;
  std::string to;
  NodeFrame type = NodeFrame::cut;
  std::string body;
};

// Another host of the cluster, as far as this gateway knows it.
struct RemoteNode {
  RemoteNode(const std::string& node_key, size_t max_batch, uint64_t& serials)
      : key(node_key), stream(node_key, max_batch, serials) {}
  const std::string key;
  uint64_t gateway = 0;          // incarnation of the process that speaks for it; 0: not known yet
  base::MonoMs lease_until = 0;  // as far as we have heard
  std::string adopter;           // the node whose host it goes on at
  bool listed = false;           // it has been among the nodes
  uint32_t missed = 0;           // so often it was not among them, since it was last
  uint64_t told = 0;             // the gateway that everything has been told
  bool synced = false;           // it has told us everything
  uint64_t marked = 0;           // up to where it has what we announced
  NodeInterest interest;
  NodeMembers members;
  NodeStream stream;
  NodeParts parts;
  Datagrams datagrams;  // QoS 0 of this turn, and what came behind a large one that is still on its way
  // QoS 0 messages that `gateway` of that node has sent, as far as has been heard.
  struct {
    uint64_t gateway = 0;
    uint64_t messages = 0;
  } heard;
  // A large QoS 0 message has gone through the stream: it is there when that is marked.
  uint64_t large_until = 0;
  // It is down, and has not told this gateway what it wants: who goes on with it will. All that it may want.
  std::vector<Waiting> waiting;
};

class Gateway final : public cluster::Hub::Events {
 public:
  explicit Gateway(Core& core);
  ~Gateway() override;

  // --- driver ---
  void start();
  // Before the turn's acknowledgements are released.
  void run_completions() { hub_.run_completions(); }
  void end_of_turn();
  // It knows what the cluster wants, or that there is no cluster to be reached: its workers may accept clients.
  bool open() const { return open_; }
  // It is open, and knows what every live node wants. Until then messages for what only its predecessor knew wait here.
  bool knows_all() const { return knows_all_; }
  Told told() const;
  // What its predecessor had accepted from other nodes has been passed on.
  bool recovered() const { return open_ && (!joined() || inbox_.caught_up()); }
  bool joined() const { return joined_; }
  // Redis has lost what it had, and not everybody may have told it again: what it does not know may be there.
  bool unsure() const { return core_.now() < sure_at_; }
  // Every host that was apart from the others is back, and has had the time to tell what it holds; or it is dead.
  bool all_have_told() const;
  // See Broker::bury().
  void bury();

  // --- workers ---
  void on_workers_synced();
  void on_worker_left(uint32_t slot);
  void on_worker_synced(uint32_t slot);
  bool on_worker_route(uint32_t slot, std::string_view body);
  bool on_cut(const WorkerId& from, std::string_view body) { return imports_.on_cut(from, body); }
  // For shared groups; the other parts know already.
  void on_worker_shares_gone(const WorkerId& worker);
  void on_worker_shares_told(Peer& worker);
  bool on_mark(const WorkerId& from, std::string_view body);
  void on_peer_linked(Peer& peer);  // before its sync_end
  void on_peer_gone(const WorkerId& worker);
  // Frames that only a gateway gets. nullopt: it is not one of them.
  std::optional<bool> on_peer_frame(Peer& from, bus::FrameType type, std::string_view body,
                                    const base::BufferRef& attachment);
  // A message that a worker here has accepted, for the nodes that want it. Uses the current ticket.
  void forward(const bus::MessageRef& message);
  // To that node, behind all messages that were accepted before.
  void append_behind(RemoteNode& to, NodeFrame type, std::string_view body);

  RetainedSync& retained() { return retained_; }

  // --- what the other parts of the gateway need ---
  cluster::Hub& hub() { return hub_; }
  const std::string& key() const { return key_; }
  NodeDirectory& directory() { return directory_; }
  NodeCopies& copies() { return copies_; }
  NodeStrays& strays() { return strays_; }
  // That process, of another host, is a live node's gateway; or, of the node `key`, one of its workers.
  bool may_say_more(std::string_view key, uint64_t incarnation) const;
  RemoteNode* find(std::string_view key);
  RemoteNode* by_id(uint32_t id) const { return id < by_id_.size() ? by_id_[id] : nullptr; }
  // The newest entry of the inbox when this gateway joined.
  uint64_t inbox_end() const { return inbox_end_; }
  // QoS 0, with the other ones of this turn; dropped and counted if there is no room, or no cluster. Large ones go
  // through the stream, as Redis closes a listener that has more to read than `client-output-buffer-limit pubsub` (32
  // MB).
  void send_datagram(RemoteNode& to, NodeFrame type, std::string_view prefix, const bus::Message& message);
  // Of QoS 0, and our predecessor may have passed it on.
  bool was_given(const bus::Message& message, uint64_t entry) const;
  // Of shared groups.
  NodeShares& shares() { return shares_; }
  ShareSender& share_sender() { return share_sender_; }
  ShareReceiver& share_receiver() { return share_receiver_; }
  // Frames of another node; `inbox` is where they came from, null: by datagram. `buffer`: which they lie in, if what
  // they bring may be referenced. False: malformed.
  bool on_frames(RemoteNode& from, uint64_t gateway, std::string_view frames, NodeInbox* inbox,
                 const base::BufferRef& buffer = {});
  RemoteNode& node(const std::string& key);
  bool is_live(const RemoteNode& node) const { return core_.now() < node.lease_until; }
  // Redis has said that the lease has run out. (Not live, it may only be that nothing was heard of it for a while.)
  static bool is_lost(const RemoteNode& node) { return node.lease_until == 0; }
  bool any_lost() const;
  int64_t expiry_shift() const;
  template <typename F>
  void for_each(F&& f) {
    for (auto& [key, node] : nodes_) f(*node);
  }

  // --- cluster::Hub::Events ---
  void on_up(const cluster::Info& info) override;
  void on_down(const std::string& reason) override;
  void on_datagram(std::string_view from, std::string_view frames) override;
  void on_nodes_changed() override { renew_soon_ = true; }

 private:
  // Unanswered bytes past which QoS 0 for other nodes is dropped.
  static constexpr size_t kMaxOutstanding = 16 * 1024 * 1024;
  static constexpr size_t kLargeDatagram = 4 * 1024 * 1024;

  struct Timer : base::TimerNode {
    explicit Timer(Gateway& g) : TimerNode(&Gateway::on_timer), gateway(g) {}
    Gateway& gateway;
  };
  static void on_timer(base::TimerNode& node);
  void join();
  void renew();
  void on_membership(cluster::Status status, const cluster::Membership& membership, base::MonoMs sent,
                     uint64_t session);
  void forget(const std::string& key);
  void drop_datagrams(uint64_t messages);
  bool on_counted(RemoteNode& from, std::string_view body);
  void send_large(RemoteNode& to, NodeFrame type, std::string_view prefix, const bus::Message& message);
  void on_redis_lost();
  void adopt(const std::string& key);
  void fenced(const char* what);
  void show() const;
  void note_reached();
  void tell(RemoteNode& node);
  void tell_joined();
  void tell_life(Peer& peer);
  void announce(NodeFrame type, std::string_view body);
  void withdraw(const std::vector<std::string>& filters);
  void open_if_known();
  void release_waiting(RemoteNode& node);
  void send_marks();
  void run_marks();
  bool on_frame(RemoteNode& from, NodeFrame type, std::string_view body, NodeInbox* inbox,
                const base::BufferRef& buffer);
  bool on_part(RemoteNode& from, uint64_t gateway, std::string_view body, NodeInbox* inbox);
  bool on_publish(std::string_view body, NodeInbox* inbox, const base::BufferRef& buffer);
  bool on_predecessor_route(std::string_view body);
  bool on_predecessor_share(std::string_view body);
  struct Predecessor;
  Predecessor& predecessor();
  void forget_predecessor();
  // It has another gateway.
  void on_gateway_changed(RemoteNode& node);
  void log(int level, std::string_view event, std::initializer_list<LogField> fields) const;

  Core& core_;
  cluster::Hub& hub_;
  const uint64_t lease_ms_;
  std::string name_;
  std::string key_;       // empty: never joined
  uint64_t session_ = 0;  // counts on_up(): an answer to a call of an earlier one is void
  uint64_t cluster_ = 0;  // Membership::cluster_id
  bool joined_ = false;   // the hub is up, and knows us
  bool down_ = false;     // the hub has said that it is not there
  bool joining_ = false;  // an answer to join() or renew() is awaited
  bool renew_soon_ = false;
  bool workers_synced_ = false;
  bool open_ = false;
  bool knows_all_ = false;
  bool heard_all_ = false;  // ... and what those want that are down
  bool calm_ = false;       // whoever is not among the nodes could have joined
  base::MonoMs sure_at_ = 0;
  base::MonoMs apart_at_ = 0;     // when a host, or this one, was out of reach last
  bool had_predecessor_ = false;  // workers ask for what its predecessor knew
  // What that had told them of other hosts, until all have told it anew.
  struct Predecessor {
    NodeInterest interest;
    NodeMembers members;  // nobody can reach them
  };
  std::unique_ptr<Predecessor> predecessor_;
  bool fenced_ = false;
  bool burying_ = false;
  bool buried_ = false;
  base::MonoMs started_ = 0;
  base::MonoMs renew_at_ = 0;
  base::MonoMs lease_until_ = 0;
  std::map<std::string, std::unique_ptr<RemoteNode>, std::less<>> nodes_;
  NodeRoutes routes_;
  NodeDirectory directory_;
  NodeImports imports_;
  NodeExports exports_;
  NodeShares shares_;
  NodeCopies copies_;
  NodeStrays strays_;
  ShareSender share_sender_;
  ShareReceiver share_receiver_;
  NodeInbox inbox_;
  RetainedSync retained_;
  uint64_t inbox_end_ = 0;  // when it joined
  uint64_t serials_ = 0;    // of frames in parts
  uint64_t announced_ = 0;  // the number of what was told the nodes last
  uint64_t mark_sent_ = 0;
  struct Mark {  // of a worker
    WorkerId worker;
    uint64_t number = 0;
    uint64_t announced = 0;
  };
  std::deque<Mark> marks_;
  std::vector<Waiting> held_;      // until it knows all
  std::vector<uint32_t> targets_;  // scratch
  std::vector<RemoteNode*> by_id_;
  Timer timer_;
};

}  // namespace broker
