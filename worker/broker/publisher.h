// The one place that decides who gets a message: peers, sessions here, shared groups, the retained store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/random.h"
#include "worker/broker/core.h"
#include "worker/broker/tickets.h"
#include "worker/connection/host.h"
#include "worker/router/level_table.h"

namespace broker {

// What is to be done with the record of an accepted message.
struct AcceptedRecord {
  std::function<void()> forget;       // it is not needed any more
  std::function<void()> note_placed;  // its shared groups have the message
  bool placed = false;                // that was noted before
};

class Publisher {
 public:
  explicit Publisher(Core& core) : core_(core) {}

  // A client's PUBLISH.
  connection::PublishOutcome publish(connection::MqttClient& client, const bus::Message::Fields& fields,
                                     uint64_t pending);
  // The store takes nothing now: answers a PUBLISH that needs it.
  connection::PublishOutcome refuse(connection::MqttClient& client, uint64_t pending);
  // Routes a message that was held back; its answer hangs on `ticket`. With an accepted message's record its answer
  // forgets that.
  void publish_again(const bus::MessageRef& message, connection::MqttClient* client, TicketId ticket,
                     const AcceptedRecord& record);
  // A message that is stored under an identity of its own (accepted.h), under a new uid. Its record is forgotten before
  // this returns, and so in the same batch, if the message was for sessions here only. `done`: it is where it must be.
  // What is returned does not know yet what its topic's home, at another worker, will say; what `done` is told does.
  proto::ReasonCode publish_accepted(const bus::MessageRef& message, connection::MqttClient* client,
                                     AcceptedRecord record, Tickets::Answer done);
  // A message of the broker itself (will, $SYS): nobody waits for it. Fills in the uid.
  void publish_unwatched(bus::Message::Fields fields);
  // A message that another worker routed to this one: for ordinary subscriptions here. `relayed`: by way of gateways,
  // which may send it twice.
  void deliver_from_peer(const bus::Message::Fields& message, bool relayed = false);
  // In a gateway: a message of another host, for the workers here. It keeps its uid. Uses the current ticket.
  void relay(const bus::MessageRef& message);
  // What the tree says of this topic, remembered until the tree changes. Valid until the next call.
  const router::MatchResult& match(std::string_view topic);

 private:
  struct Routed {
    bool matched = false;
    bool taken = false;   // by anyone: not every match refused it for a full queue
    bool placed = false;  // with shared groups
  };
  proto::ReasonCode reason_of(const Routed& routed);
  // It is for sessions or topics that are stored here.
  connection::PublishOutcome pass(connection::MqttClient& client, const bus::Message::Fields& message,
                                  const router::MatchResult& match, uint64_t pending);
  bool needs_store(const bus::Message& message, const router::MatchResult& match) const;
  Routed route(const bus::MessageRef& message, const router::MatchResult& match, connection::MqttClient* client,
               const AcceptedRecord& record = {});
  // It is for other workers only, and nothing of it has to be kept here: no Message need be made.
  bool only_passes(const bus::Message::Fields& message, const router::MatchResult& match) const;
  // `message`: the same; null if it only passes.
  void send_to_peers(const bus::Message::Fields& fields, const bus::MessageRef* message,
                     const router::MatchResult& match, connection::MqttClient* client);
  bool known(const bus::Message::Fields& message, bool relayed);
  // The nearest way, for a small QoS 0 message that one session here may have now. False: it is not one.
  void deliver_missed(const bus::Message::Fields& message);
  bool deliver_unkept(const bus::Message::Fields& message, const router::MatchResult& match);
  // Not `numbered`: it has overtaken, or been overtaken by, other messages of its worker.
  void deliver_local(const bus::MessageRef& message, const router::MatchResult& match, Routed& routed,
                     bool numbered = true);

  // A subscriber's overlapping subscriptions become one delivery: highest QoS, all identifiers. DESIGN section 8.
  struct Merged {
    router::SubscriberId subscriber = 0;
    session::Delivery delivery;
  };
  void merge(const bus::MessageRef& message, const router::MatchResult& match);

  // A publisher repeats its topics, so most walks of the tree were made before. Direct-mapped; a result with many
  // subscriptions is not kept, which bounds the cache (and such a walk costs little beside its deliveries).
  static constexpr size_t kCacheSlots = 1024;
  static constexpr size_t kCachedSubscriptions = 64;
  struct Cached {
    std::string topic;
    uint64_t generation = 0;
    router::MatchResult match;
  };

  Core& core_;
  const router::LevelHasher hash_{base::entropy()};
  std::vector<Cached> cache_{kCacheSlots};
  Cached uncached_;
  std::vector<Merged> merged_;
  struct Stamp {
    uint32_t turn = 0;
    uint32_t index = 0;
  };
  std::vector<Stamp> stamps_;  // by subscriber
  uint32_t turn_ = 0;
  static constexpr uint32_t kHeartbeatEvery = 16384;  // deliveries
  uint32_t since_heartbeat_ = 0;
};

}  // namespace broker
