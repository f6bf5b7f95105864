// One worker's broker: everything MQTT and everything between workers, without I/O.
//
// Inputs are calls (bytes of clients, bytes of peers, who the peers are, time); outputs go through ClientTransport, the
// links' byte streams and the Environment's interfaces. The same object runs in production (worker/worker.cc) and, N of
// them in one thread with a manual clock, in the simulation (tests/sim).
//
// Turn discipline: the driver feeds any number of inputs, then calls end_of_turn() once, then flushes links and
// clients, in that order: PUBACKs of messages for other workers are released by flushed links.
//
//   driver: broker.peer_bytes(...) / client->on_bytes(...) ... ; broker.advance(); broker.end_of_turn();
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/byte_chain.h"
#include "shared/base/clock.h"
#include "shared/base/random.h"
#include "shared/bus/link.h"
#include "shared/cluster/hub.h"
#include "shared/config/config.h"
#include "shared/metrics/page.h"
#include "shared/store/store.h"
#include "worker/connection/client.h"
#include "worker/connection/transport.h"

namespace broker {

// One line of the log: `level` 0 debug, 1 info, 2 warn, 3 error. May be empty (no logging).
struct LogField {
  std::string_view key;
  std::string_view value;
};
using LogSink = std::function<void(int level, std::string_view event, std::initializer_list<LogField> fields)>;

// What the broker needs of the outside. All of it outlives the broker.
struct Environment {
  const config::Config* config = nullptr;
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  const base::Clock* clock = nullptr;
  base::Random* random = nullptr;
  base::ChunkPool* pool = nullptr;
  store::Store* store = nullptr;
  // Of the gateway's slot only: what the hosts of the cluster share. Its flush() and run_completions() are called by
  // end_of_turn().
  cluster::Hub* hub = nullptr;
  metrics::PageRef page{nullptr};                          // this worker's counters
  std::function<metrics::PageRef(uint32_t slot)> page_of;  // any worker's, for $SYS
  LogSink log;
  int log_level = 0;  // lines below it are not wanted
  // Unacknowledged bytes to one peer past which publishers are held back. DESIGN section 3.
  uint64_t link_credit = 16 * 1024 * 1024;
  // Bytes of a batch for another host, past which frames go into the next one; larger ones go in parts of that size.
  size_t node_batch = 1024 * 1024;
  // Called by end_of_turn() for every link that has bytes waiting: write what the kernel takes now
  // (link->gather / on_written). May be called for links that are not connected (do nothing then).
  std::function<void(uint32_t slot, bus::Link& link)> flush_link;
  // Of the gateway's slot only: Redis has confirmed the lease, which runs for so many milliseconds from now.
  std::function<void(uint64_t ms)> on_lease;
  // In a cluster: what is stored with an epoch up to this one may have gone on at another host, since all of this one
  // stood still until then, and its lease had run out; until Redis says (HostLife). 0: it has not.
  uint64_t unsure_until_us = 0;
  // The gateway's life in the cluster has ended: the process must end, and another begin.
  std::function<void()> on_fenced;
  // All links are synchronised: start accepting clients. Called once.
  std::function<void()> on_ready;
  // Of the gateway's slot only: the nodes of the cluster as it sees them now; `calm`: who is not among them had the
  // time to join. Called after every answer that tells.
  std::function<void(const cluster::Membership&, bool calm)> on_nodes;
  // The same slot: this host goes on with nodes whose hosts are dead. Whoever gets on_nodes() sees to it.
  bool adopts = false;
  // bury() has been done.
  std::function<void()> on_buried;
};

struct PeerId {
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  bool operator==(const PeerId&) const = default;
};

class Broker {
 public:
  explicit Broker(Environment environment);
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Brings back what the store has. Once, before everything else. Throws std::runtime_error: it cannot be read.
  void load();

  // --- who the peers are (master's Peers message) ---
  // The live processes of the host, this one included or not. A process that is missing is dead, but peer_gone() must
  // be called for it by the carrier once its stream has been read to the end.
  void set_peers(const std::vector<PeerId>& live);

  // --- links (for the carrier) ---
  // The stream to one incarnation of a peer; created at its first use. Null if that incarnation is known to be dead.
  bus::Link* link(PeerId peer);
  // A connection was made and the handshakes are exchanged; `peer_received` is what the peer said it has of our stream.
  // False: refuse the connection.
  bool peer_connected(PeerId peer, uint64_t peer_received);
  // The connection broke; another may follow.
  void peer_disconnected(PeerId peer);
  // False: malformed, drop the connection.
  bool peer_bytes(PeerId peer, std::string_view bytes);
  // The process is dead and everything it wrote to us has been passed to peer_bytes().
  void peer_gone(PeerId peer);
  // The carrier wrote more of a link outside flush_link (the socket became writable).
  void peer_progress(PeerId peer);

  // As much has been delivered since end_of_turn() as a turn should: read no more than a little of each peer before the
  // next one.
  bool saturated() const;

  // --- clients ---
  // A new connection. The client lives until it has called transport.close() or was told on_transport_closed(); it is
  // freed at the end of that turn.
  connection::Client* open_client(connection::ClientTransport& transport);

  // --- time and turns ---
  // Fires timers. Call at least every 100 ms (8 ms for best precision) and before end_of_turn().
  void advance();
  // Releases acknowledgements, flushes links, frees what was closed.
  void end_of_turn();
  // After end_of_turn(): there is work left that waits for nothing (a long replay); turn again without blocking.
  bool more_work() const;
  bool ready() const;

  // --- stop ---
  // Says goodbye to every client (MQTT 5: DISCONNECT 0x8B), wills fire as the protocol says. Idempotent.
  void shut_down();
  // The same for at most `max` clients: a graceful stop, spread over time. New CONNECTs are refused from the first call
  // on.
  void drain(size_t max);
  size_t client_count() const;
  // A gateway: this host's node has no sessions, and is not needed any more. May be called again.
  void bury();

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace broker
