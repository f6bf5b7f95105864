// The carrier of links between the workers of one host: a mesh of Unix stream sockets.
//
// Of a pair the one with the higher slot dials, again and again while the master calls the other one alive; the other
// one accepts. Each says who it is and whom it means to talk to (bus_hello.h), so that nothing reaches a process of
// another incarnation. A connection that breaks between live processes is made again, and the links resend.
//
// When the master no longer names a process it is dead, but its last words may still be in our socket: they are read to
// the end before BusEndpoint::peer_gone().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/loop/poll.h"
#include "shared/loop/timer.h"
#include "worker/net/bus_connection.h"
#include "worker/net/bus_endpoint.h"
#include "worker/net/bus_socket.h"
#include "worker/net/context.h"

namespace net {

class LocalBus final : BusConnection::Owner {
 public:
  static constexpr size_t kReadBuffer = 256 * 1024;
  static constexpr uint64_t kFirstRetryMs = 5;
  static constexpr uint64_t kLastRetryMs = 100;
  static constexpr size_t kMaxStrangers = 1024;  // accepted and not yet known by their hello

  // Listens at once. Throws std::system_error.
  LocalBus(Context& context, const Peer& self, const std::string& directory, BusEndpoint& endpoint);
  ~LocalBus() override;

  // The live processes of the host; this one is passed over.
  void set_peers(const std::vector<Peer>& live);
  // Writes what `link`, one of the endpoint's, has waiting as far as the kernel takes it now.
  void flush(uint32_t slot, const bus::Link& link);
  // Nothing waits to be written to a live process.
  bool drained() const;
  // Frees closed connections. Not to be called from inside a callback of the bus.
  void reap() { closed_.clear(); }
  size_t connected() const;

 private:
  struct Known {
    Peer peer;
    bool alive = true;
    BusConnection* connection = nullptr;  // dialled or established
    uint64_t retry_ms = kFirstRetryMs;    // until the next attempt
    uint64_t retry_at = 0;                // 0 = no attempt is due
  };
  using Owned = std::vector<std::unique_ptr<BusConnection>>;

  void on_hello(BusConnection& connection, const Hello& hello) override;
  bool on_bytes(BusConnection& connection, std::string_view bytes) override;
  bool saturated() const override { return endpoint_.saturated(); }
  void on_progress(BusConnection& connection) override;
  void on_closed(BusConnection& connection, std::string_view reason) override;

  void listen();
  void accept();
  BusConnection& adopt(base::UniqueFd fd);
  bool we_dial(const Peer& peer) const { return self_.slot > peer.slot; }
  void dial(Known& known);
  void dial_later(Known& known);
  // Why a hello is not acceptable; empty if it is.
  std::string_view objection(const Known* known, const BusConnection& connection, const Hello& hello) const;
  void drop(Known& known, std::string_view reason);
  void retire(BusConnection& connection);
  void forget(Peer peer);

  void set_timer();
  void on_timer();
  Known* find(const Peer& peer);
  Known* find(const BusConnection& connection);

  Context& context_;
  const Peer self_;
  BusEndpoint& endpoint_;
  BusDirectory directory_;
  std::unique_ptr<char[]> read_buffer_;
  std::vector<Known> known_;
  Owned connections_;
  Owned closed_;
  base::UniqueFd listener_;
  bool deaf_ = false;  // accepting has failed; the timer goes on with it
  loop::Timer timer_;  // attempts that are due, and writing that must be tried again
  loop::Poll listener_poll_;
};

}  // namespace net
