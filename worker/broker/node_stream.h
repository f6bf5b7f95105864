// The stream of this host's gateway to the inbox of another node: frames are collected during a turn, and go out as
// numbered batches, one at a time. What comes while one is under way is the next one, so batches grow with the load.
// A batch without an answer is sent again under its number when there is a connection again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/bus/message.h"
#include "shared/cluster/hub.h"
#include "worker/broker/node_frames.h"
#include "worker/broker/tickets.h"

namespace broker {

class NodeStream {
 public:
  // `to`: the node's key.
  explicit NodeStream(std::string to) : to_(std::move(to)) {}

  void append(NodeFrame type, std::string_view body);
  // `prefix`, then the message; `expiry_shift` is what turns the broker's clock into wall-clock milliseconds.
  void append(NodeFrame type, std::string_view prefix, const bus::Message& message, int64_t expiry_shift);
  // Whole frames.
  void append_frames(std::string_view frames);
  // Done when everything appended so far is in the inbox.
  void wait(TicketId ticket) {
    if (ticket != kNoTicket) next_.tickets.push_back(ticket);
  }

  // Sends what is due: `sent(to, number, status)` is the answer, to be passed to on_sent().
  using Sent = std::function<void(const std::string& to, uint64_t number, cluster::Status status)>;
  void flush(cluster::Hub& hub, const Sent& sent);
  // The tickets that are done now.
  std::vector<TicketId> on_sent(uint64_t number, cluster::Status status);
  // What was lost or refused is sent again: every tick, or the hub is asked as fast as it says no.
  void try_again() { pauses_ = false; }
  // The node is gone for good: what is not known to be in its inbox, in its order.
  struct Abandoned {
    std::string frames;
    std::vector<TicketId> tickets;
  };
  Abandoned abandon();
  size_t under_way_bytes() const { return under_way_.frames.size(); }
  // Not in the inbox yet.
  size_t waiting_bytes() const;

 private:
  static constexpr size_t kMaxBatch = 1024 * 1024;  // a larger frame is a batch of its own
  struct Batch {
    std::string frames;
    std::vector<TicketId> tickets;
    bool empty() const { return frames.empty(); }
  };
  void cut_if_full(size_t more);

  const std::string to_;
  Batch next_;
  std::deque<Batch> full_;  // behind the one under way, before next_
  Batch under_way_;
  uint64_t number_ = 0;   // of under_way_
  bool answered_ = true;  // under_way_ does not wait for an answer
  bool pauses_ = false;   // until try_again()
};

}  // namespace broker
