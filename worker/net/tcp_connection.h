// One client's TCP connection: carries bytes between a socket and a connection::Client. Knows nothing of MQTT.
//
//            close(), output empty at once or nothing more to be taken
//   ┌──────────────────────────────────────────────────────────────┐
//   │                                                              v
//  open ──close()──> closing ──output drained──> lingering ──────> dead ──> freed at the end of the turn
//   │                                   (end of stream, error, too much, too late)^
//   └──end of stream, error: Client::on_transport_closed()─────────────────────────┘
//
// Lingering: we have said all (SHUT_WR) and read on until the client closes its side. Closing a socket with unread
// bytes resets the connection, and a reset would destroy our last packet on its way.
//
// An idle connection holds no buffer: reading uses one buffer of the whole worker, output takes chunks of the pool.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/base/byte_chain.h"
#include "shared/base/unique_fd.h"
#include "shared/loop/poll.h"
#include "worker/connection/client.h"
#include "worker/connection/transport.h"
#include "worker/net/socket_address.h"

namespace net {

class ConnectionSet;

// A bound on open connections that several listeners share.
struct Quota {
  uint32_t limit = 0;  // 0 = none
  uint32_t used = 0;
  bool exhausted() const { return limit != 0 && used >= limit; }
};

class TcpConnection final : public connection::ClientTransport {
 public:
  // Written in one turn at most, so that one large payload does not hold up the other clients.
  static constexpr size_t kWriteBudget = 1024 * 1024;
  static constexpr int kMaxVectors = 64;
  // Read and thrown away while lingering.
  static constexpr uint32_t kMaxDrained = 1024 * 1024;

  // Made, owned and destroyed by `set`.
  TcpConnection(ConnectionSet& set, base::UniqueFd fd, const SocketAddress& peer, Quota& quota);
  ~TcpConnection() override;

  base::ByteChain& output() override { return output_; }
  void schedule_flush() override;
  void set_reading(bool on) override;
  void close() override;
  std::string peer_address() const override { return peer_.text(); }

 private:
  friend class ConnectionSet;
  enum class State : uint8_t { open, closing, lingering, dead };

  // --- for the set ---
  void attach(connection::Client* client);
  // Writes what is waiting. True: the client was told something.
  bool flush();
  void die();

  void on_poll(int events);
  void read();
  void on_end_of_stream();
  void linger();
  void drain();
  // False: the socket can take nothing any more.
  bool write(size_t& taken);
  void poll_again();

  ConnectionSet& set_;
  connection::Client* client_ = nullptr;  // null unless open
  base::ByteChain output_;
  Quota& quota_;
  base::UniqueFd fd_;
  uint32_t index_ = 0;     // in the set
  uint32_t waiting_ = 0;   // bytes left over by the last flush, for the gauge
  uint32_t drained_ = 0;   // while lingering
  uint32_t deadline_ = 0;  // while closing or lingering, in the set's ticks
  SocketAddress peer_;
  State state_ = State::open;
  bool reading_ = true;
  bool scheduled_ = false;    // on the set's list of connections to flush
  bool blocked_ = false;      // waiting for the socket to become writable
  bool broken_ = false;       // writing has failed; what the client sent before that is still being read
  bool half_closed_ = false;  // the end of stream was seen while not reading
  bool goodbye_ = false;      // close() left something to say
  loop::Poll poll_;           // last: destroyed before the descriptor it polls
};

}  // namespace net
