// The seam between an MQTT client's state machine and whatever carries its bytes (TCP, later TLS and WebSocket; memory
// in tests and in the simulation).
#pragma once

#include <string>

#include "shared/base/byte_chain.h"

namespace connection {

// Owned by the carrier. Valid for the client until it called close() or the carrier called
// Client::on_transport_closed().
class ClientTransport {
 public:
  virtual ~ClientTransport() = default;
  // Bytes waiting to be written; the client appends, the carrier drops what the kernel took.
  virtual base::ByteChain& output() = 0;
  // output() has become non-empty: the carrier writes it at the end of this loop turn. Cheap to call again.
  virtual void schedule_flush() = 0;
  // Stop or go on delivering bytes to the client. Bytes already handed over are the client's.
  virtual void set_reading(bool on) = 0;
  // Writes what output() holds as far as the peer takes it within a bounded time, then closes. The client is forgotten:
  // no call to it follows.
  virtual void close() = 0;
  // "127.0.0.1:40312", for logs.
  virtual std::string peer_address() const = 0;
};

}  // namespace connection
