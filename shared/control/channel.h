// One end of the control connection between the master and a worker: whole messages, some with descriptors, over a
// SOCK_SEQPACKET socketpair. Never blocks: what the socket does not take at once waits here, in order.
#pragma once

#include <deque>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/control/messages.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"

namespace control {

class Channel {
 public:
  struct Handler {
    std::function<void(const Message&, std::vector<base::UniqueFd>)> on_message;
    // The other end is gone, or what came from it was no message of ours (`reason` says which). Called once, last.
    std::function<void(const std::string& reason)> on_closed;
  };

  // REQUIRES: `fd` is non-blocking. Either handler may destroy the channel.
  Channel(loop::Loop& loop, base::UniqueFd fd, Handler handler);

  // The descriptors are duplicated: the caller keeps its own. After the other end has gone this does nothing.
  void send(const Message& message, std::span<const int> descriptors = {});
  size_t queued() const { return queue_.size(); }

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<base::UniqueFd> descriptors;
  };
  void on_poll(int events);
  void receive();
  void flush();
  void poll_again();
  void close(const std::string& reason);

  base::UniqueFd fd_;
  Handler handler_;
  std::deque<Outgoing> queue_;
  bool closed_ = false;
  loop::Poll poll_;  // last: destroyed before the descriptor it polls
};

// A connected pair, non-blocking and close-on-exec. Throws std::system_error.
std::pair<base::UniqueFd, base::UniqueFd> channel_pair();

}  // namespace control
