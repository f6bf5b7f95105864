// One page of counters per slot (the workers', and in a cluster the gateway's) in a shared memfd. A worker writes only
// its own page, anybody may read all.
//
// Counters are monotonic for the life of the master (a replacement worker goes on counting in its slot's page); gauges
// are reset by a worker that starts. Plain relaxed atomics: no locks, no torn 64-bit reads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace metrics {

inline constexpr uint32_t kPageVersion = 1;
inline constexpr uint32_t kPageMagic = 0x4D514D50;  // "MQMP"

// X(identifier, help). Append only: the order is the page's layout.
#define MM_COUNTERS(X)                                                                   \
  X(connections_accepted, "TCP connections accepted")                                    \
  X(connections_refused_limit, "connections closed because of max_connections")          \
  X(connects_accepted, "CONNECT packets answered with success")                          \
  X(connects_refused, "CONNECT packets answered with an error")                          \
  X(disconnects_clean, "connections ended by DISCONNECT")                                \
  X(disconnects_unclean, "connections lost without DISCONNECT")                          \
  X(protocol_errors, "connections closed for malformed or illegal packets")              \
  X(keep_alive_timeouts, "connections closed by keep-alive")                             \
  X(takeovers, "connections closed because their client id connected again")             \
  X(bytes_received, "bytes read from clients")                                           \
  X(bytes_sent, "bytes written to clients")                                              \
  X(packets_received, "MQTT packets received")                                           \
  X(packets_sent, "MQTT packets sent")                                                   \
  X(publish_received, "PUBLISH packets received")                                        \
  X(publish_received_bytes, "payload bytes of PUBLISH packets received")                 \
  X(publish_sent, "PUBLISH packets sent")                                                \
  X(publish_sent_bytes, "payload bytes of PUBLISH packets sent")                         \
  X(publish_dropped_slow, "QoS 0 messages not sent because the client reads too slowly") \
  X(publish_dropped_queue, "QoS 1 and 2 messages not queued because the queue was full") \
  X(publish_refused_store, "PUBLISHes refused because the store takes nothing")          \
  X(publishers_closed_full, "clients closed because too much waited for other hosts")    \
  X(publish_dropped_expired, "messages that expired before they were sent")              \
  X(publish_dropped_size, "messages larger than the client's maximum packet size")       \
  X(publish_dropped_bus, "QoS 0 messages not sent to another worker for want of credit") \
  X(publish_no_match, "PUBLISH packets nobody subscribed to")                            \
  X(bus_messages_sent, "messages handed to other workers")                               \
  X(bus_messages_received, "messages taken from other workers")                          \
  X(bus_bytes_sent, "bytes written to other workers")                                    \
  X(bus_bytes_received, "bytes read from other workers")                                 \
  X(sessions_expired, "sessions ended by session expiry")                                \
  X(wills_published, "wills published")                                                  \
  X(store_commits, "batches of changes stored")                                          \
  X(store_writes, "writes to the store that these were merged into")                     \
  X(store_written_bytes, "bytes of those changes")                                       \
  X(redis_reconnects, "connections to Redis that broke and were made anew")              \
  X(redis_calls_lost, "calls to Redis whose answer never came")                          \
  X(redis_calls_refused, "calls that Redis refused: out of memory, read-only, ...")      \
  X(cluster_fenced, "times this host learned that others had taken over what it had")    \
  X(cluster_batches_sent, "batches put into the inboxes of other hosts")                 \
  X(cluster_batches_received, "batches taken from this host's inbox")                    \
  X(cluster_bytes_sent, "bytes of frames sent to other hosts")                           \
  X(cluster_bytes_received, "bytes of frames from other hosts")                          \
  X(cluster_messages_sent, "messages handed to other hosts")                             \
  X(cluster_messages_received, "messages taken from other hosts")                        \
  X(cluster_dropped_qos0, "QoS 0 messages not sent to other hosts: Redis away or full")  \
  X(cluster_claims, "client ids asked for in the cluster's directory")                   \
  X(cluster_takeovers, "sessions that came from another host, or went to one")           \
  X(cluster_nodes_adopted, "dead hosts that this one has taken over")                    \
  X(sessions_adopted, "sessions of theirs")                                              \
  X(retained_changes, "changes of retained messages taken from Redis")                   \
  X(retained_snapshots, "snapshots of the retained messages begun")                      \
  X(retained_offered, "retained messages offered to Redis, which had not decided them")  \
  X(retained_refused, "messages not retained because of max_retained")                   \
  X(redis_listener_breaks, "times the connection that listens to Redis alone was lost")  \
  X(cluster_lost_qos0, "QoS 0 messages of other hosts that Redis did not pass on")

#define MM_GAUGES(X)                                                                                 \
  X(heartbeat_ms, "CLOCK_MONOTONIC milliseconds of the last loop turn")                              \
  X(busy_since_ms, "CLOCK_MONOTONIC milliseconds when the current loop turn's work began, 0 = idle") \
  X(incarnation, "incarnation of the process that writes this page")                                 \
  X(ready, "1 while the worker accepts clients")                                                     \
  X(connections, "TCP connections open now")                                                         \
  X(clients_connected, "MQTT clients connected now")                                                 \
  X(sessions, "sessions held, connected or not")                                                     \
  X(subscriptions, "subscriptions of those sessions")                                                \
  X(shared_subscriptions, "shared subscriptions among them")                                         \
  X(retained_messages, "retained messages whose home is this worker")                                \
  X(retained_bytes, "their topics and payloads in bytes")                                            \
  X(queued_messages, "messages waiting in sessions")                                                 \
  X(queued_bytes, "their bytes")                                                                     \
  X(inflight_messages, "messages sent and not acknowledged")                                         \
  X(bus_waiting_bytes, "bytes waiting to be written to other workers")                               \
  X(send_buffer_bytes, "bytes waiting to be written to clients")                                     \
  X(loading, "1 while the worker opens and loads its store")                                         \
  X(store_health, "0 the store works, 1 it is full, 2 writing to it fails")                          \
  X(store_pending_bytes, "bytes of changes waiting to be stored")                                    \
  X(store_size_bytes, "bytes of the store on disk")                                                  \
  X(redis_up, "1 while Redis can be asked")                                                          \
  X(redis_outstanding_bytes, "bytes of calls to Redis without an answer")                            \
  X(cluster_ready, "1 while messages travel to and from all live hosts")                             \
  X(cluster_nodes, "hosts of the cluster that have a lease, this one included")                      \
  X(cluster_lease_ms, "milliseconds left of this host's lease")                                      \
  X(cluster_waiting_bytes, "bytes of frames that wait for other hosts")                              \
  X(cluster_inbox_bytes, "bytes read from this host's inbox that its workers have not confirmed")    \
  X(cluster_missing_servers, "Redis servers that have inboxes of this cluster and are not there")    \
  X(cluster_copy_whole, "1 while this host's copy in Redis is whole")                                \
  X(cluster_adopting, "dead hosts whose sessions this one is taking over")                           \
  X(retained_tombstones, "deletions of retained messages that are remembered")                       \
  X(retained_unconfirmed, "retained messages and deletions that Redis has not confirmed")            \
  X(retained_unsynchronised, "workers whose retained messages are not yet those of the cluster")     \
  X(sessions_unsure, "sessions that may have gone on at another host, which Redis will tell")        \
  X(redis_warnings, "settings of Redis by which it may lose what it holds; the log has them")

enum class Counter : uint32_t {
#define X(name, help) name,
  MM_COUNTERS(X)
#undef X
      kCount
};
enum class Gauge : uint32_t {
#define X(name, help) name,
  MM_GAUGES(X)
#undef X
      kCount
};

// The layout of one slot's page. kPageSize bytes apart in the memfd.
struct Page {
  uint32_t magic = kPageMagic;
  uint32_t version = kPageVersion;
  std::atomic<uint64_t> gauges[64];
  std::atomic<uint64_t> counters[128];
};
inline constexpr size_t kPageSize = 4096;
static_assert(sizeof(Page) <= kPageSize);

// Access to one page. Cheap to copy; does not own the memory.
class PageRef {
 public:
  explicit PageRef(Page* page) : page_(page) {}
  void add(Counter c, uint64_t n = 1) const {
    auto& cell = page_->counters[static_cast<uint32_t>(c)];
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);  // one writer
  }
  void set(Gauge g, uint64_t value) const {
    page_->gauges[static_cast<uint32_t>(g)].store(value, std::memory_order_relaxed);
  }
  void add(Gauge g, int64_t delta) const {
    auto& cell = page_->gauges[static_cast<uint32_t>(g)];
    cell.store(cell.load(std::memory_order_relaxed) + static_cast<uint64_t>(delta), std::memory_order_relaxed);
  }
  uint64_t get(Counter c) const { return page_->counters[static_cast<uint32_t>(c)].load(std::memory_order_relaxed); }
  uint64_t get(Gauge g) const { return page_->gauges[static_cast<uint32_t>(g)].load(std::memory_order_relaxed); }

 private:
  Page* page_;
};

// Maps the pages of all slots (shared). The mapping outlives the descriptor. Throws std::system_error.
class Pages {
 public:
  // Creates a memfd with `slots` zeroed pages.
  static int create_memfd(uint32_t slots);
  Pages(int fd, uint32_t slots);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  PageRef slot(uint32_t index) const;
  uint32_t slots() const { return slots_; }

 private:
  void* memory_ = nullptr;
  uint32_t slots_ = 0;
};

std::string_view name(Counter c);
std::string_view name(Gauge g);
std::string_view help(Counter c);
std::string_view help(Gauge g);

}  // namespace metrics
