// Whose links the local bus carries: the broker (see worker/broker/broker.h), or a test.
#pragma once

#include <cstdint>
#include <string_view>

#include "shared/bus/link.h"
#include "worker/net/bus_hello.h"

namespace net {

class BusEndpoint {
 public:
  virtual ~BusEndpoint() = default;
  // Null: that process is known to be dead. Lives until peer_gone() has returned.
  virtual bus::Link* link(const Peer& peer) = 0;
  // False: refuse the connection.
  virtual bool peer_connected(const Peer& peer, uint64_t peer_received) = 0;
  virtual void peer_disconnected(const Peer& peer) = 0;
  // False: malformed, the connection is dropped.
  virtual bool peer_bytes(const Peer& peer, std::string_view bytes) = 0;
  // The process is dead, and everything it had written to us has been passed to peer_bytes().
  virtual void peer_gone(const Peer& peer) = 0;
  // This turn has enough to do already: little more is read of any peer.
  virtual bool saturated() const = 0;
  // More of the link was written outside of LocalBus::flush().
  virtual void peer_progress(const Peer& peer) = 0;
};

}  // namespace net
