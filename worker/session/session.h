// A client's session: what MQTT keeps for it beyond a connection, and the way out of every message for it.
// [MQTT5 3.1.2.11.2, 4.1]. One worker owns it, online or offline.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/base/clock.h"
#include "shared/base/ring.h"
#include "shared/base/timer_wheel.h"
#include "shared/config/config.h"
#include "shared/metrics/page.h"
#include "worker/session/delivery.h"
#include "worker/session/inflight.h"
#include "worker/session/subscriptions.h"

namespace session {

// The way to a connected client. Implemented by connection::MqttClient.
class Outlet {
 public:
  enum class Sent : uint8_t { yes, too_large };
  virtual ~Outlet() = default;
  // Bytes waiting for the client's socket.
  virtual size_t backlog() const = 0;
  virtual uint16_t receive_maximum() const = 0;
  virtual Sent send_publish(const Delivery& delivery, uint16_t packet_id, bool dup) = 0;
  // At QoS 0, not retained. `subscription`: identifier, 0 = none.
  virtual Sent send_unkept(const bus::Message::Fields& message, uint32_t subscription) = 0;
  virtual void send_pubrel(uint16_t packet_id) = 0;
  // Close: the session's queue overflowed and the policy is to disconnect.
  virtual void on_queue_full() = 0;
  // Another connection has taken the session over; the client is told (MQTT 5: 0x8E) and closed.
  virtual void on_taken_over() = 0;
};

// A will waiting for its connection's end or for its delay. Owns its text.
struct Will {
  std::string topic;
  std::string payload;
  std::string properties;  // forwarded block
  proto::QoS qos = proto::QoS::at_most_once;
  bool retain = false;
  uint32_t delay = 0;  // seconds
  std::optional<uint32_t> message_expiry;
};

class Session;

// Writes down what happens to the messages of stored sessions. Implemented by broker::Records.
class Recorder {
 public:
  static constexpr uint8_t kDelivery = 1;  // bits of Delivery::records
  static constexpr uint8_t kProgress = 2;
  virtual ~Recorder() = default;
  // The message waits in the queue (gets its position).
  virtual void queued(Session& session, Delivery& delivery) = 0;
  // It is in flight, or PUBREC has come for it.
  virtual void in_flight(Session& session, Inflight::Entry& entry) = 0;
  // It is done with.
  virtual void removed(const Session& session, const Delivery& delivery) = 0;
  virtual void incoming(const Session& session, uint16_t packet_id, bool known) = 0;
  // The session has something to send when this turn's batch is stored: on_stored(batch()).
  virtual void wait_to_send(const Session& session) = 0;
  virtual uint64_t batch() const = 0;
};

// The limits and counters all sessions of a worker share. Outlives them.
struct Shared {
  const config::Mqtt* config = nullptr;
  const base::Clock* clock = nullptr;
  metrics::PageRef page{nullptr};
  Recorder* recorder = nullptr;  // null: nothing is stored
};

// A worker process, and whether of what it had accepted (bus::Message::once) or of what it has routed.
struct Stream {
  uint64_t origin = 0;
  bool accepted = false;
  auto operator<=>(const Stream&) const = default;
};

struct Inbound;   // takeover in progress towards here, see worker/broker/takeovers.h
struct Outbound;  // and away from here

class Session {
 public:
  Session(const Shared& shared, std::string client_id, router::SubscriberId id);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::string& client_id() const { return client_id_; }
  router::SubscriberId id() const { return id_; }

  // --- properties ---
  uint64_t epoch = 0;
  uint32_t expiry_interval = 0;  // seconds; 0 = ends with its connection, 0xFFFFFFFF = never
  bool durable() const { return expiry_interval > 0; }
  // Its number in the store; 0: it is not stored.
  uint64_t sid = 0;
  uint64_t next_position = 1;
  // In a cluster while no copy is kept: its messages from this position on are here only. 0: a copy is kept.
  uint64_t copied_to = 0;
  uint64_t uncopied_us = 0;  // wall clock, when the first of them was stored; 0: none was
  // It has been loaded, or taken back, and may be out of date: another worker may have a newer one. 0: no, or it is
  // known not to be; else the number of that doubt (Claims::doubt()).
  uint64_t unconfirmed = 0;
  // Its messages are stored: they are sent, and acknowledged to their publishers, when they are.
  bool stored() const { return sid != 0 && durable(); }
  uint64_t disconnected_at = 0;  // wall-clock milliseconds; 0: connected, or never was
  std::unique_ptr<Will> will;
  Subscriptions subscriptions;
  std::vector<uint16_t> incoming_qos2;  // packet ids the client has published and not released, sorted
  bool has_incoming(uint16_t packet_id) const;
  void add_incoming(uint16_t packet_id);
  bool remove_incoming(uint16_t packet_id);

  // --- connection ---
  Outlet* outlet() const { return outlet_; }
  bool connected() const { return outlet_ != nullptr; }
  // Sends again what was in flight (DUP, PUBREL), then what waits. [MQTT-4.4.0-1]
  void attach(Outlet& outlet);
  void detach();

  // --- messages to the client ---
  enum class Result : uint8_t { accepted, dropped_full, dropped };
  Result deliver(Delivery delivery);
  // QoS 0, not retained, of a message that is kept nowhere.
  Result deliver_unkept(const bus::Message::Fields& message, uint32_t subscription);
  // Puts a message behind what waits, whatever the limits.
  void keep(Delivery delivery);
  // The same for one that is stored already, or will be with the session (loaded, resumed from elsewhere).
  void restore(Delivery delivery);
  // Sends from the queue as far as the window and the client's socket allow.
  void pump();
  // QoS 1: PUBACK. False: no such packet id.
  bool on_puback(uint16_t packet_id);
  // QoS 2: PUBREC; an error reason ends the flow. False: no such packet id.
  bool on_pubrec(uint16_t packet_id, bool error);
  bool on_pubcomp(uint16_t packet_id);
  // That batch is stored: what waited for it is sent.
  void on_stored(uint64_t batch);

  Inflight& inflight() { return inflight_; }
  const Inflight& inflight() const { return inflight_; }
  base::Ring<Delivery>& queue() { return queue_; }
  size_t queued_bytes() const { return queued_bytes_; }
  // Takes out what came from the shared groups that `from` accepts and may be given to another member: everything not
  // yet sent and, once there is no connection on which it could still be acknowledged, QoS 1 in flight. DESIGN
  // section 3. Their records are the caller's to remove.
  std::vector<Delivery> take_shared(const std::function<bool(const GroupName&)>& from);
  // Drops queue and in-flight state.
  void clear_messages();

  // --- takeover ---
  std::unique_ptr<Inbound> inbound;
  bool moved = false;     // it came from another worker, where something of it may be left
  bool arriving = false;  // not yet this worker's: it is being received, or being stored for its new connection
  std::unique_ptr<Outbound> outbound;
  // By worker process: its messages up to this number came with the session; they may still come directly, and are
  // skipped. Null: none.
  std::unique_ptr<std::map<uint64_t, uint64_t>> skip;
  // The same, from its arrival on, and stored with it: what was for its new worker as well, and not yet confirmed by
  // it, is sent again if that worker dies. Null: none.
  std::unique_ptr<std::map<uint64_t, uint64_t>> came_with;
  // The same for messages that are routed again under an identity of their own (bus::Message::once). Null: none.
  std::unique_ptr<std::map<uint64_t, uint64_t>> skip_once;
  // Up to which number it lacks what is beyond those two, though this worker knows it (broker/missed.h). Null: nothing.
  std::unique_ptr<std::map<Stream, uint64_t>> missed;

  // Armed while offline: session expiry and will delay. Made and handled by broker::Sessions.
  struct Timer : base::TimerNode {
    Timer(Fire fire, Session& s, void* o) : TimerNode(fire), session(s), owner(o) {}
    Session& session;
    void* owner;
  };
  struct Timers {
    Timer expiry;
    Timer will;
  };
  std::unique_ptr<Timers> timers;

 private:
  size_t window() const;
  template <typename Send>
  Result send_at_most_once(base::MonoMs expires_at, Send send);
  Result enqueue(Delivery delivery);
  void account(int64_t messages, int64_t bytes);
  void resend();
  void release(Inflight::Entry& entry);
  bool send_now(Delivery delivery);
  // When the packet id is stored; at once for a session that is not.
  void send_when_stored(Inflight::Entry& entry);
  void send(Inflight::Entry& entry);
  void forget(const Delivery& delivery);

  const Shared& shared_;
  std::string client_id_;
  router::SubscriberId id_;
  Outlet* outlet_ = nullptr;
  Inflight inflight_;
  base::Ring<Delivery> queue_;
  size_t queued_bytes_ = 0;
  uint32_t unsent_ = 0;  // entries of inflight_ that wait for room to be sent again
  bool pumping_ = false;
  struct Unsent {
    uint64_t batch = 0;
    uint16_t packet_id = 0;
  };
  base::Ring<Unsent> unsent_stored_;  // wait for their batch
};

}  // namespace session
