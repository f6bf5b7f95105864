// Knows what the contracts C5 to C7 demand of what happened, and says when the broker did otherwise.
//
// It sees only what an onlooker at the sockets sees: bytes handed to a worker ("handed"), bytes a worker gave to a
// socket ("sent"), what clients received, and which processes died. A fault excuses what it must and nothing else:
//   - a worker's death excuses the sessions that were to end with their connections to it, QoS 0 messages and
//     unacknowledged ones handed to it;
//   - in a cluster, what oracle_cluster.cc names;
//   - a link's cut, a stopped worker and slow clients excuse nothing, except what was counted as dropped: QoS 0 for
//   want
//     of credit or room, QoS 1 and 2 for a full queue.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/connection.h"
#include "tests/sim/ledger.h"
#include "tests/sim/world.h"

namespace sim {

class Oracle {
 public:
  Oracle(World& world, Trace& trace) : world_(world), trace_(trace) {}

  // All members of shared groups are: what one was given is in a store.
  bool durable_members = false;
  // No excuse that the contract does not have.
  bool strict = false;

  // --- messages ---
  Message& new_message(std::string_view client, std::string_view topic, proto::QoS qos, bool retain);
  Message& message(MessageId id) { return messages_[id - 1]; }
  MessageId message_of(const proto::Publish& publish);  // by its payload; 0: unknown, or the payload is empty
  MessageId message_handed(const Connection& connection, const proto::Publish& publish);
  void publish_handed(Connection& connection, MessageId id);
  void accepted(Connection& connection, MessageId id);
  void ack_sent(Connection& connection, MessageId id, proto::ReasonCode reason);

  // --- deliveries ---
  void received(Connection& connection, const proto::Publish& publish);
  // A QoS 2 message that the client has taken already, under the same packet id.
  void received_again(Connection& connection, MessageId id, uint16_t packet_id);
  void receipt_acked(Connection& connection, MessageId id, uint16_t packet_id);

  // --- connections and sessions ---
  void connection_made(Connection& connection);
  void connect_handed(Connection& connection);
  void connack_sent(Connection& connection, const proto::Connack& connack);
  // `unsettled`: not everything handed over was looked at, its DISCONNECT maybe neither.
  void closed_by_broker(Connection& connection, bool unsettled);
  void hung_up(Connection& connection, bool unsettled);
  void process_died(Process& process);

  // --- subscriptions ---
  void subscribe_handed(Connection& connection, Asked& asked);  // fills in its number
  void suback_sent(Connection& connection, const Asked& asked, const proto::Suback& suback);
  void unsubscribe_handed(Connection& connection, Asked& asked);  // likewise
  void unsuback_sent(Connection& connection, const Asked& asked);

  // --- a cluster: oracle_cluster.cc ---
  void host_died(Host& host);
  void host_adopted(Host& host);
  void redis_lost();

  // --- after everything healed and came to rest ---
  // REQUIRES: everything is at rest.
  void check_one_live();
  void check_answered();
  void check_delivered();
  // Everybody with a session is connected and has taken what is his.
  void check_groups();
  void check_retained(const std::vector<std::map<std::string, std::string>>& seen_by_worker);
  // Topics whose retained message may be any of these payloads ("" = none).
  std::vector<std::string> retained_candidates(std::string_view topic) const;

  base::MonoMs now_ms() const { return world_.now_ms(); }
  const std::deque<Message>& messages() const { return messages_; }
  uint64_t deliveries() const { return deliveries_; }
  uint64_t connects() const { return connects_; }
  uint64_t takeovers() const { return takeovers_; }
  uint64_t crossings() const { return crossings_; }  // deliveries to another host than the message's

 private:
  struct Client {  // by client id
    std::vector<Connection*> connections;
    Session* session = nullptr;   // the current one, as far as CONNACKs tell
    Connection* owner = nullptr;  // with whose CONNACK it was last said to exist
    bool persistent = false;      // outlives `owner`
    bool may_be_lost = false;     // with a worker
    // A session that was to end with its connection died with its worker: where it had come from it may still be
    // stored.
    bool may_rise = false;
    // It was accepted on two hosts that were apart: which session will be left is not known until everything is at
    // rest.
    bool split = false;
  };
  struct RetainedWrite {
    const Connection* connection = nullptr;
    MessageId id = 0;
  };

  void require(bool condition, const Connection& connection, const std::string& what);
  void register_owed(Message& message);
  void fire_will(Connection& connection, bool certain);
  void check_rival(Connection& connection);
  bool count_refusal(const Process& process);
  bool refused_for_store(const Connection& connection);
  void check_session_present(Client& client, Connection& connection, bool present);
  struct Unanswered {
    bool any = false;
    bool ending = false;  // with a clean start, or without a session expiry
  };
  Unanswered unanswered(const Client& client, const Connection& connection) const;
  void doubt_session(Client& client, Connection& connection);
  void begin_session(Client& client, Connection& connection);
  void end_session(Client& client);
  // A connection without a CONNACK may have taken the session since `owner` got its own.
  bool may_have_taken(const Client& client, const Connection& connection) const;
  void shake(Client& client, Process& process);
  void received_shared(Connection& connection, Message& message);
  void check_copy(Connection& connection, Message& message, Receipt& receipt, const proto::Publish& publish);
  void check_order(Connection& connection, const Message& message);
  // --- a cluster ---
  bool elsewhere(const Connection& a, const Connection& b) const { return a.process.host != b.process.host; }
  // Something is or was wrong between the two, and has not come to rest since then.
  bool apart(const Connection& a, const Connection& b) const;
  // Redis may have thought that its host is dead.
  bool may_be_fenced(const Connection& connection) const;
  // Its session may be on another host whose lease had run out, as far as is known where it is.
  bool out_of_reach(const Connection& connection) const;
  // Where the client was accepted last, then.
  uint32_t host_at(const Client& client, Step step) const;
  // The session is, and was, on the message's host, or that host must know of the subscription.
  bool known_there(const Client& client, const Message& message, bool shared) const;
  // QoS 0 has no second chance.
  bool qos0_excused(const Client& client, const Message& message) const;
  bool blind(const Client& client, const Message& message) const;
  bool shared_excused(const Message& message) const;
  bool cluster_troubled_since(Step step) const;
  void split(Client& client, Connection& connection);
  void doubt_host(const Host& host, Step since);
  bool made_in_trouble(const Message& message) const;
  bool gone_with_its_host(const Message& message) const;
  bool ordered_by_redis(const Message& later, const Message& earlier) const;
  bool firm(const Message& message, bool qos0) const;
  // What is missing and may be, as far as the workers have counted it.
  struct Missing {
    // One drop for want of credit is all copies of a message for one worker.
    std::set<std::pair<MessageId, const Process*>> qos0;
    std::set<std::pair<MessageId, std::string>> queued;  // QoS 1 and 2, by session or group
  };
  void check_owed(Client& client, Missing& missing);
  void check_shared(const Message& message, Missing& missing);
  void check_counted(const Missing& missing);
  uint64_t dropped_qos0() const;
  uint64_t dropped_queued() const;
  bool dominates(const RetainedWrite& later, const RetainedWrite& earlier) const;

  World& world_;
  Trace& trace_;
  std::deque<Message> messages_;
  std::deque<Session> sessions_;
  std::map<std::string, Client> clients_;
  std::map<std::string, std::vector<RetainedWrite>, std::less<>> retained_;
  std::map<uint32_t, uint64_t> refusals_;  // by slot: seen, for want of the store
  Step last_death_ = 0;
  Step last_leave_ = 0;  // a member of a shared group left, lost its connection or died
  Step last_quit_ = 0;   // a session left a group, or ended
  uint64_t asked_ = 0;   // SUBSCRIBE and UNSUBSCRIBE
  uint64_t deliveries_ = 0;
  uint64_t connects_ = 0;
  uint64_t takeovers_ = 0;
  uint64_t crossings_ = 0;
};

}  // namespace sim
