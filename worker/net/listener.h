// Accepts clients on one listening socket and hands them to the ConnectionSet.
//
// Over the quota a connection is refused: closed at once, for there is nothing to wait for. So it is when only a few
// descriptors are left, which are for the bus and for what it shares. Should there be none at all, the handshakes stay
// queued in the kernel, and accepting pauses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/base/unique_fd.h"
#include "shared/loop/poll.h"
#include "shared/loop/timer.h"
#include "worker/net/connection_set.h"

namespace net {

class Listener {
 public:
  static constexpr int kAcceptsPerTurn = 64;
  static constexpr int kMaxFailures = 16;  // in one turn
  static constexpr uint64_t kPauseMs = 100;
  static constexpr int kReservedFiles = 256;  // but at most a quarter of those the process may open

  // REQUIRES: `fd` is bound, listening and non-blocking. `name` is for logs. Does not accept until start().
  Listener(Context& context, base::UniqueFd fd, std::string name, Quota& quota, ConnectionSet& connections);
  void start();
  // Closing the listener's descriptor is the destructor's; other processes may go on accepting on the socket.
  void stop();

 private:
  void on_readable();
  void accept(base::UniqueFd fd, const SocketAddress& peer);
  void pause(int error);
  // At most one line a second.
  void warn(std::string_view event, std::string_view reason);

  Context& context_;
  std::string name_;
  Quota& quota_;
  ConnectionSet& connections_;
  base::UniqueFd fd_;
  const int file_limit_;  // descriptors from here on are not for clients: the kernel gives out the lowest free one
  uint64_t warned_at_ = 0;
  loop::Timer pause_;
  loop::Poll poll_;  // last: destroyed before the descriptor it polls
};

}  // namespace net
