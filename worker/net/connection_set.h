// Owns the client connections of a worker, and what they share: the read buffer, the list of those with something to
// write, the list of those to be freed. The driver calls flush() and reap() at the end of every loop turn.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "shared/loop/timer.h"
#include "worker/net/context.h"
#include "worker/net/tcp_connection.h"

namespace net {

class ConnectionSet {
 public:
  static constexpr size_t kReadBuffer = 64 * 1024;
  // How long a connection that was closed may take to accept our last bytes and to close its side.
  static constexpr uint64_t kLingerMs = 2000;
  // Makes the state machine behind a new connection; it belongs to whoever makes it (see connection::Client). Null:
  // refuse the connection.
  using ClientFactory = std::function<connection::Client*(connection::ClientTransport&)>;

  ConnectionSet(Context& context, ClientFactory make_client, uint64_t linger_ms = kLingerMs);
  ~ConnectionSet();
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;

  // Takes over an accepted socket. REQUIRES: it is non-blocking.
  void add(base::UniqueFd fd, const SocketAddress& peer, Quota& quota);

  // Writes what is waiting, once for each connection. True: clients were told, so there may be more to do.
  bool flush();
  // There is something to write that flush() has not tried yet: do not wait for events.
  bool pending() const { return !dirty_.empty(); }
  // Frees the dead. Not to be called from inside a callback of a connection.
  void reap();
  // Open, closing and lingering ones.
  size_t size() const { return open_.size() + closing_.size(); }

 private:
  friend class TcpConnection;
  using Owned = std::vector<std::unique_ptr<TcpConnection>>;
  static constexpr uint32_t kLingerTicks = 8;

  // --- for the connections ---
  std::span<char> read_buffer() { return {read_buffer_.get(), kReadBuffer}; }
  void schedule(TcpConnection& connection) { dirty_.push_back(&connection); }
  void start_closing(TcpConnection& connection);
  void bury(TcpConnection& connection) { dead_.push_back(&connection); }

  void sweep();
  static void put(Owned& owned, std::unique_ptr<TcpConnection> connection);
  static std::unique_ptr<TcpConnection> take(Owned& owned, uint32_t index);

  Context& context_;
  ClientFactory make_client_;
  const uint64_t tick_ms_;
  std::unique_ptr<char[]> read_buffer_;
  Owned open_;
  Owned closing_;  // closing, lingering or dead
  std::vector<TcpConnection*> dirty_;
  std::vector<TcpConnection*> flushing_;  // what dirty_ was, while flush() runs; kept for its memory
  std::vector<TcpConnection*> dead_;
  uint32_t ticks_ = 0;       // of sweep_timer_
  loop::Timer sweep_timer_;  // runs while closing_ is not empty
};

}  // namespace net
