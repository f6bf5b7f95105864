// The stream of this host's gateway to the inbox of another node: frames are collected during a turn, and go out as
// numbered batches, one at a time. What comes while one is under way is the next one, so batches grow with the load.
// A batch without an answer is sent again under its number when there is a connection again.
//
// A frame that is larger than a batch may be goes in parts (node_parts.h), each a batch: Redis, which does one thing at
// a time, and both gateways have bounded pieces of work, and the payload is referenced until its last part is there.
// What Redis has of the parts may be lost with it, and nobody says so before the last one is taken. So after any doubt
// the frame begins anew; who had it all knows it by its serial.
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
  // `to`: the node's key. `max_batch`: bytes of a batch, or of a part. `serials`: the last that this gateway has given
  // to a frame in parts.
  NodeStream(std::string to, size_t max_batch, uint64_t& serials)
      : to_(std::move(to)), max_batch_(max_batch), serials_(serials) {}

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
  // Redis may have lost what it had.
  void on_joined() { begin_again(); }
  // The node is gone for good: what is not known to be in its inbox, in its order.
  struct Abandoned {
    std::string frames;
    std::vector<TicketId> tickets;
  };
  Abandoned abandon();
  size_t under_way_bytes() const { return bytes_.size(); }
  // Not in the inbox yet.
  size_t waiting_bytes() const;

 private:
  struct Batch {
    std::string frames;
    bool in_parts = false;   // a single frame
    std::string_view tail;   // of it, behind `frames`
    base::BufferRef buffer;  // where that is
    std::vector<TicketId> tickets;
    bool empty() const { return frames.empty(); }
    size_t size() const { return frames.size() + tail.size(); }
    void append_to(std::string& out, size_t offset, size_t size) const;
  };
  void make_room(size_t more);
  bool begin_next();
  void begin_again();
  std::string next_part();

  const std::string to_;
  const size_t max_batch_;
  uint64_t& serials_;
  Batch next_;
  std::deque<Batch> full_;  // behind what is under way, before next_
  // Under way:
  std::string bytes_;              // as they are sent
  std::vector<TicketId> tickets_;  // done with it
  Batch large_;                    // of which bytes_ is a part
  uint64_t serial_ = 0;            // of large_
  size_t begun_ = 0;               // bytes of large_ that are there, or in bytes_
  uint64_t number_ = 0;            // of bytes_
  bool answered_ = true;           // bytes_ do not wait for an answer
  bool pauses_ = false;            // until try_again()
};

}  // namespace broker
