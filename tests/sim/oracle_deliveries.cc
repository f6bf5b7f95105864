// C5 and C6: what was accepted arrives, once, in order.
#include <algorithm>

#include "proto/topic.h"
#include "tests/sim/identity.h"
#include "tests/sim/oracle.h"

namespace sim {
namespace {

bool is_shared_topic(std::string_view topic) {
  return topic.starts_with("g/");
}
proto::QoS effective(const Message& message, const Session& session) {
  return std::min(message.qos, session.qos);
}

}  // namespace

Message& Oracle::new_message(std::string_view client, std::string_view topic, proto::QoS qos, bool retain) {
  Message& m = messages_.emplace_back();
  m.id = static_cast<MessageId>(messages_.size());
  m.client = client;
  m.topic = topic;
  m.qos = qos;
  m.retain = retain;
  return m;
}

MessageId Oracle::message_of(const proto::Publish& publish) {
  if (publish.payload.empty()) return 0;
  MessageId id = 0;
  for (const char c : publish.payload.substr(1, publish.payload.find('.') - 1)) {
    if (c < '0' || c > '9' || id > messages_.size()) return 0;
    id = id * 10 + static_cast<MessageId>(c - '0');
  }
  if (id == 0 || id > messages_.size()) return 0;
  const Message& m = message(id);
  return m.payload() == publish.payload && m.topic == publish.topic ? id : 0;
}

MessageId Oracle::message_handed(const Connection& connection, const proto::Publish& publish) {
  if (!publish.payload.empty()) return message_of(publish);
  if (publish.qos != proto::QoS::at_most_once) {
    const auto it = connection.erasing.find(publish.packet_id);  // (the client may have forgotten it since)
    return it == connection.erasing.end() ? 0 : it->second;
  }
  const auto it = std::find_if(messages_.begin(), messages_.end(), [&](const Message& m) {
    return m.erases && m.handed == kNever && m.client == connection.owner.name() && m.topic == publish.topic &&
           m.qos == publish.qos;
  });
  return it == messages_.end() ? 0 : it->id;
}

// --- what is owed ---

void Oracle::publish_handed(Connection& connection, MessageId id) {
  Message& m = message(id);
  m.connection = &connection;
  if (m.handings++ == 0) m.handed = trace_.step();
  trace_.line(connection.name(), " PUBLISH ", m.name(), " is with the worker");
  if (m.retain) retained_[m.topic].push_back({&connection, id});
  if (m.handings == 1) register_owed(m);
}

void Oracle::register_owed(Message& m) {
  if (m.erases || is_shared_topic(m.topic)) return;
  for (auto& [id, client] : clients_) {
    Session* session = client.session;
    if (session == nullptr || !session->binds(m.topic, m.handed, false) || !known_there(client, m, false)) continue;
    const bool connected = client.owner->live();
    if (effective(m, *session) == proto::QoS::at_most_once || !client.persistent) {
      if (connected) session->owed[m.id] = {true, client.owner};
    } else {
      session->owed[m.id] = {};
    }
    const auto owed = session->owed.find(m.id);
    const auto announced = session->announced.find(m.connection->process.index);
    if (owed == session->owed.end() || announced == session->announced.end()) continue;
    const bus::Link* link = world_.link(m.connection->process, client.owner->process);
    owed->second.uninformed = link != nullptr && link->received() < announced->second;
  }
}

void Oracle::accepted(Connection& connection, MessageId id) {
  Message& m = message(id);
  m.accepted = true;
  // Whoever hangs up before the answer is not told that there was no room.
  if (m.qos != proto::QoS::at_most_once && connection.process.store.has_failed()) m.refused = true;
}

void Oracle::ack_sent(Connection& connection, MessageId id, proto::ReasonCode reason) {
  if (reason == proto::ReasonCode::quota_exceeded && count_refusal(connection.process)) {
    message(id).refused = true;
    return;
  }
  const bool full = reason == proto::ReasonCode::quota_exceeded && dropped_queued() + dropped_qos0() > 0;
  require(!is_error(reason) || full, connection, text(message(id).name(), " is refused: ", proto::to_string(reason)));
  if (message(id).acked == kNever) message(id).acked = trace_.step();
}

// A worker says no for want of its store. False: it has not counted that.
bool Oracle::count_refusal(const Process& process) {
  uint64_t& seen = refusals_[process.id.slot];
  if (seen >= world_.page(process.id.slot).get(metrics::Counter::publish_refused_store)) return false;
  ++seen;
  return true;
}

// --- what arrives ---

void Oracle::received(Connection& connection, const proto::Publish& publish) {
  ++deliveries_;
  trace_.mix(connection.index);
  trace_.mix(publish.payload.substr(0, 16));
  if (publish.payload.empty()) return;  // a deletion; which one cannot be told
  const MessageId id = message_of(publish);
  require(id != 0, connection, text("received a message that nobody published, topic ", publish.topic));
  require(connection.session != nullptr, connection, "received PUBLISH before CONNACK");
  if (id == 0 || connection.session == nullptr) return;
  Session& session = *connection.session;
  Message& m = message(id);
  const auto check = [&](bool condition, std::string_view what) {
    if (!condition)
      trace_.fail(text(connection.name(), ": ", m.name(), ' ', m.topic, ": ", what),
                  {connection.owner.name(), m.name()});
  };
  const bool shared = is_shared_topic(m.topic);
  const bool taken_for_dead = m.is_will && m.connection != nullptr && may_be_fenced(*m.connection);
  check(m.handings > 0 || m.may_fire || taken_for_dead,
        m.is_will ? "a will though its connection did not end unclean" : "not sent yet");
  check(publish.qos == effective(m, session), "wrong QoS");
  if (!publish.dup) session.receipts[id].acked.erase(publish.packet_id);  // the packet id is used anew
  if (publish.retain) {
    const bool asked = session.doubted || std::ranges::any_of(session.subscriptions, [&m](const Subscription& s) {
                         return s.matches(m.topic);
                       });
    check(m.retain && asked, "a retained message that was not asked for");
    return;
  }
  check(session.doubted || session.allows(m.topic, m.handed, shared), "C5: no subscription matches it");
  Receipt& receipt = session.receipts[id];
  check_copy(connection, m, receipt, publish);
  check_order(connection, m);
  if (shared) received_shared(connection, m);
  session.owed.erase(id);
  if (m.connection != nullptr && elsewhere(connection, *m.connection)) ++crossings_;
  ++receipt.copies;
  receipt.last = &connection;
  receipt.packet_id = publish.packet_id;
  uint64_t& chain = session.chains[{m.client, m.topic}];
  chain = (chain ^ id) * 0x100000001B3ULL;
  trace_.mix(chain);
}

void Oracle::check_copy(Connection& connection, Message& m, Receipt& receipt, const proto::Publish& publish) {
  const auto check = [&](bool condition, std::string_view what) {
    if (!condition)
      trace_.fail(text(connection.name(), ": ", m.name(), ' ', m.topic, ": ", what),
                  {connection.owner.name(), m.name()});
  };
  const Session& session = *connection.session;
  check(!publish.dup || session.connections > 1, "DUP on the session's first connection");
  if (receipt.copies == 0) return;
  // QoS 1 that its publisher sent again: each is a message of its own.
  if (m.qos == proto::QoS::at_least_once && m.handings > 1) return;
  // A member that left gave it back, and it may have come to the same member again.
  if (m.qos == proto::QoS::at_least_once && is_shared_topic(m.topic) &&
      (last_leave_ >= m.handed || cluster_troubled_since(m.handed))) {
    return;
  }
  check(publish.qos != proto::QoS::at_most_once, "QoS 0 arrives twice");
  check(publish.qos != proto::QoS::exactly_once, "C6: QoS 2 arrives twice");
  check(publish.dup, "QoS 1 arrives twice without DUP");
  check(receipt.last != &connection, "QoS 1 arrives twice on one connection");
  check(receipt.packet_id == publish.packet_id, "QoS 1 comes again under another packet id");
  check(!receipt.acked.contains(publish.packet_id), "QoS 1 comes again though the worker had its PUBACK");
}

void Oracle::check_order(Connection& connection, const Message& m) {
  Session& session = *connection.session;
  if (m.is_will || session.receipts[m.id].copies > 0) return;
  if (is_shared_topic(m.topic)) return;  // another member's messages may have come to this one
  MessageId& last = session.last[{m.connection, m.topic, m.qos}];
  if (last > m.id) {
    trace_.fail(text(connection.name(), ": order: ", m.name(), ' ', m.topic, " arrives after ", message(last).name(),
                     ", both of ", m.connection->name()),
                {connection.owner.name(), m.name(), message(last).name()});
  }
  if (m.handings == 1) last = std::max(last, m.id);  // else an earlier connection may have brought it
}

void Oracle::received_shared(Connection& connection, Message& m) {
  const std::string& id = connection.owner.name();
  if (std::find(m.members.begin(), m.members.end(), id) != m.members.end()) return;
  m.members.push_back(id);
  if (m.members.size() == 1) return;
  const bool may_repeat = m.qos == proto::QoS::at_least_once &&
                          (m.handings > 1 || last_leave_ >= m.handed || cluster_troubled_since(m.handed));
  if (!may_repeat) {
    trace_.fail(text(connection.name(), ": shared: ", m.name(), " came to two members"),
                {m.name(), connection.owner.name()});
  }
}

void Oracle::received_again(Connection& connection, MessageId id, uint16_t packet_id) {
  if (connection.session == nullptr || id == 0) return;
  if (connection.session->receipts[id].acked.contains(packet_id)) {
    trace_.fail(
        text(connection.name(), ": C6: QoS 2 ", message(id).name(), " comes again though the worker had its PUBREC"),
        {connection.owner.name(), message(id).name()});
  }
}

void Oracle::receipt_acked(Connection& connection, MessageId id, uint16_t packet_id) {
  if (connection.session != nullptr && id != 0) connection.session->receipts[id].acked.insert(packet_id);
}

// --- subscriptions ---

void Oracle::subscribe_handed(Connection& connection, Asked& asked) {
  asked.number = ++asked_;
  if (connection.session == nullptr) return;
  auto& all = connection.session->subscriptions;
  for (const std::string& filter : asked.filters) {
    const bool active = std::any_of(
        all.begin(), all.end(), [&filter](const Subscription& s) { return s.filter == filter && s.unasked == kNever; });
    if (active) continue;
    Subscription& s = all.emplace_back();
    s.filter = filter;
    s.asked = trace_.step();
    s.asked_by = asked.number;
  }
}

void Oracle::suback_sent(Connection& connection, const Asked& asked, const proto::Suback& suback) {
  trace_.line(connection.name(), " <= SUBACK ", asked.filters.front());
  require(suback.reasons.size() == asked.filters.size(), connection, "SUBACK answers another number of filters");
  for (const proto::ReasonCode reason : suback.reasons) {
    require(static_cast<uint8_t>(reason) == static_cast<uint8_t>(connection.owner.profile().qos), connection,
            "SUBACK grants another QoS than asked");
  }
  if (connection.session == nullptr) return;
  for (Subscription& s : connection.session->subscriptions) {
    const bool meant = std::find(asked.filters.begin(), asked.filters.end(), s.filter) != asked.filters.end();
    if (meant && s.asked_by <= asked.number && s.unasked == kNever && s.granted == kNever) {
      s.granted = trace_.step();
      s.host = connection.process.host;
    }
  }
}

void Oracle::unsubscribe_handed(Connection& connection, Asked& asked) {
  asked.number = ++asked_;
  if (connection.session == nullptr) return;
  last_leave_ = trace_.step();
  for (Subscription& s : connection.session->subscriptions) {
    const bool meant = std::find(asked.filters.begin(), asked.filters.end(), s.filter) != asked.filters.end();
    if (!meant || s.unasked != kNever) continue;
    s.unasked = trace_.step();
    s.unasked_by = asked.number;
    if (s.shared()) last_quit_ = trace_.step();
  }
}

void Oracle::unsuback_sent(Connection& connection, const Asked& asked) {
  trace_.line(connection.name(), " <= UNSUBACK ", asked.filters.front());
  if (connection.session == nullptr) return;
  for (Subscription& s : connection.session->subscriptions) {
    const bool meant = std::find(asked.filters.begin(), asked.filters.end(), s.filter) != asked.filters.end();
    if (meant && s.unasked != kNever && s.unasked_by <= asked.number && s.revoked == kNever) s.revoked = trace_.step();
  }
}

}  // namespace sim
