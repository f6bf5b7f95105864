// Accepts clients on one listening socket and hands them to the ConnectionSet.
//
// Refused means closed at once: over the quota there is nothing to wait for. Out of descriptors is different: the
// handshakes stay queued in the kernel, and accepting pauses.
#pragma once

#include <string>

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

  // REQUIRES: `fd` is bound, listening and non-blocking. `name` is for logs. Does not accept until start().
  Listener(Context& context, base::UniqueFd fd, std::string name, Quota& quota, ConnectionSet& connections);
  void start();
  // Closing the listener's descriptor is the destructor's; other processes may go on accepting on the socket.
  void stop();

 private:
  void on_readable();
  void pause(int error);

  Context& context_;
  std::string name_;
  Quota& quota_;
  ConnectionSet& connections_;
  base::UniqueFd fd_;
  bool starved_ = false;  // logged once for a period of want
  loop::Timer pause_;
  loop::Poll poll_;  // last: destroyed before the descriptor it polls
};

}  // namespace net
