// The oracle's books: what was published, who has which session and subscriptions, and what was received.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "proto/packet.h"
#include "tests/sim/trace.h"

namespace sim {

class Connection;
struct Process;

using MessageId = uint32_t;  // 0: none. Grows in the order in which clients published.

// One application message of a client, however often it is sent.
struct Message {
  MessageId id = 0;
  std::string client;
  std::string topic;
  proto::QoS qos = proto::QoS::at_most_once;
  bool retain = false;
  bool erases = false;  // an empty payload: it cannot be told from others when it is received
  bool is_will = false;
  size_t padding = 0;

  Step handed = kNever;                    // first time all its bytes were given to a worker
  const Connection* connection = nullptr;  // on which it was handed last
  uint32_t handings = 0;
  bool accepted = false;  // a worker that was reading had it at the end of its turn
  Step acked = kNever;    // PUBACK or PUBREC was sent
  bool refused = false;   // by a worker whose store failed, or maybe; counts until it is acknowledged
  bool may_fire = false;  // a will: its connection ended unclean

  std::vector<std::string> members;  // client ids that got it through a shared subscription

  std::string name() const { return text('m', id, '.'); }
  std::string payload() const { return erases ? std::string() : name() + std::string(padding, 'x'); }
};

// A SUBSCRIBE or UNSUBSCRIBE that a worker has.
struct Asked {
  std::vector<std::string> filters;
  uint64_t number = 0;
};

struct Subscription {
  std::string filter;     // as subscribed, "$share/..." included
  Step asked = kNever;    // SUBSCRIBE was given to the worker
  Step granted = kNever;  // SUBACK was sent
  Step unasked = kNever;  // UNSUBSCRIBE was given to the worker
  Step revoked = kNever;  // UNSUBACK was sent
  uint32_t host = 0;      // that granted it
  // Of the SUBSCRIBE that made it and the UNSUBSCRIBE that ended it (0: none): a client may ask again and again before
  // it is answered once.
  uint64_t asked_by = 0;
  uint64_t unasked_by = 0;

  bool shared() const;
  bool matches(std::string_view topic) const;
  // For a message handed over at `step`: it must come; it may come.
  bool binds(Step step) const { return granted < step && unasked == kNever; }
  bool allows(Step step) const { return asked != kNever && step <= revoked; }
};

// One copy of a message in a session.
struct Receipt {
  uint32_t copies = 0;
  const Connection* last = nullptr;
  uint16_t packet_id = 0;
  std::set<uint16_t> acked;  // packet ids for which the worker has the client's PUBACK or PUBREC
};

struct Owed {
  bool by_connection = false;  // QoS 0: only if that connection lasts
  const Connection* connection = nullptr;
  // The worker that took the message cannot know yet where the session lives.
  bool uninformed = false;
};

// From a CONNACK without session present to the end of the session.
struct Session {
  uint32_t id = 0;
  std::string client;
  proto::QoS qos = proto::QoS::at_most_once;  // of all its subscriptions
  Step began = 0;
  Step ended = kNever;
  uint32_t connections = 0;
  // It may be the one before under another number, or one that nobody saw: see Oracle::doubt_session().
  bool doubted = false;
  // A worker died that may have held messages for it in motion: what was handed over until then and had not arrived may
  // be missing.
  Step shaken = 0;

  // By process index: where the owner's stream to it ended when the owner said CONNACK.
  std::map<uint32_t, uint64_t> announced;

  std::vector<Subscription> subscriptions;
  std::map<MessageId, Receipt> receipts;
  std::map<MessageId, Owed> owed;
  std::map<std::tuple<const Connection*, std::string, proto::QoS>, MessageId> last;  // for order
  std::map<std::pair<std::string, std::string>, uint64_t> chains;                    // (publisher, topic) -> hash

  bool binds(std::string_view topic, Step step, bool shared) const;
  bool allows(std::string_view topic, Step step, bool shared) const;
};

}  // namespace sim
