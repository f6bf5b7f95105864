// What must be true when nothing is under way any more.
#include <algorithm>

#include "tests/sim/identity.h"
#include "tests/sim/oracle.h"

namespace sim {

void Oracle::check_answered() {
  for (const auto& [id, client] : clients_) {
    for (const Connection* c : client.connections) {
      if (c->client_closed || c->over()) continue;
      require(c->connack_sent != kNever || c->refused, *c, "liveness: CONNECT is not answered");
      require(c->subscribing.empty(), *c, "liveness: SUBSCRIBE is not answered");
      require(c->unsubscribing.empty(), *c, "liveness: UNSUBSCRIBE is not answered");
      require(!c->owner.publishing() || c->owner.current() != c, *c, "liveness: PUBLISH is not acknowledged");
    }
  }
}

// The broker has promised to deliver it, and nothing that died since excuses it.
bool Oracle::firm(const Message& m, bool qos0) const {
  if (m.refused && m.acked == kNever) return false;
  const bool worker_lives = m.connection == nullptr || m.connection->process.alive;
  if (m.is_will) {
    // Its worker published it, and died with what had not left it.
    const bool lost = qos0 && m.qos == proto::QoS::at_most_once && !worker_lives;
    return m.accepted && !(lost && m.handed < m.connection->process.died);
  }
  if (m.qos != proto::QoS::at_most_once && m.acked != kNever) return true;
  if (qos0 && m.qos == proto::QoS::at_most_once && !worker_lives) return false;
  return m.accepted && worker_lives;
}

void Oracle::check_delivered() {
  Missing missing;
  for (auto& [id, client] : clients_) {
    // What an offline session has in its queue shows when it comes back.
    if (client.session != nullptr && client.owner->live()) check_owed(client, missing);
  }
  for (const Message& m : messages_) check_shared(m, missing);
  check_counted(missing);
}

uint64_t Oracle::dropped_qos0() const {
  return world_.total(metrics::Counter::publish_dropped_slow) + world_.total(metrics::Counter::publish_dropped_bus);
}

uint64_t Oracle::dropped_queued() const {
  return world_.total(metrics::Counter::publish_dropped_queue);
}

void Oracle::check_counted(const Missing& missing) {
  const auto check = [this](std::string_view what, size_t count, uint64_t counted) {
    if (count > counted) {
      trace_.fail(text("C5: ", count, what, " are missing, but only ", counted, " were counted as dropped"), {});
    }
  };
  check(" QoS 0 messages", missing.qos0.size(), dropped_qos0());
  check(" QoS 1 and 2 messages", missing.queued.size(), dropped_queued());
}

void Oracle::check_owed(Client& client, Missing& missing) {
  const Session& session = *client.session;
  for (const auto& [id, owed] : session.owed) {
    const Message& m = message(id);
    if (owed.by_connection && owed.connection != client.owner) continue;
    if (m.handed <= session.shaken) continue;
    // Its worker still sent to the dead owner, or had just forgotten that one's routes.
    const bool uninformed = owed.uninformed || m.handed <= client.owner->connack_sent;
    if (session.shaken != 0 && uninformed && m.handed <= world_.end_of_mourning(session.shaken)) continue;
    if (!session.binds(m.topic, m.handed, false)) continue;
    if (!firm(m, owed.by_connection)) continue;
    if (qos0_excused(client, m) || blind(client, m)) continue;
    if (owed.by_connection && std::min(m.qos, session.qos) == proto::QoS::at_most_once) {
      trace_.line(client.owner->name(), " misses QoS 0 ", m.name());
      if (dropped_qos0() > 0) {
        missing.qos0.emplace(id, &client.owner->process);
        continue;
      }
    } else if (dropped_queued() > 0) {
      trace_.line(client.owner->name(), " misses ", m.name());
      missing.queued.emplace(id, session.client);
      continue;
    }
    trace_.fail(text(client.owner->name(), ": C5/C6: ", m.name(), ' ', m.topic, " of ", m.client, " (QoS ",
                     static_cast<int>(m.qos), m.acked != kNever ? ", acknowledged" : "", ") never arrived"),
                {session.client, m.name()});
  }
}

void Oracle::check_shared(const Message& m, Missing& missing) {
  if (!m.topic.starts_with("g/") || !m.members.empty() || m.handings == 0) return;
  if (last_leave_ >= m.handed && m.qos != proto::QoS::at_least_once) return;  // it may have gone with its member
  if (!firm(m, true)) return;
  // A member that was there before and is still there, connected.
  for (const auto& [id, client] : clients_) {
    const Session* session = client.session;
    if (session == nullptr || !client.owner->live() || !session->binds(m.topic, m.handed, true)) continue;
    if (m.qos == proto::QoS::at_most_once && client.owner->connack_sent >= m.handed) continue;
    if (m.qos != proto::QoS::at_least_once && last_death_ != 0 && world_.end_of_mourning(last_death_) >= m.handed) {
      continue;  // it may have been given to a member who was dead already
    }
    // A member's worker that had accepted it died with it. Before the PUBACK the publisher's worker still has it (but
    // over hosts its being accepted may have been on its way when the member's worker died); of a publisher that has
    // gone nobody sees when that would have been.
    const bool maybe_acked = m.connection != nullptr && m.connection->over();
    const Step acked = m.acked == kNever && maybe_acked ? m.connection->over_at() : m.acked;
    const Step accepted = world_.hosts().size() > 1 ? m.handed : acked;
    if (m.qos == proto::QoS::at_least_once && accepted <= last_death_ && !durable_members) continue;
    if (session->shaken >= m.handed) continue;
    if (!known_there(client, m, true) || shared_excused(m)) continue;
    if (m.qos == proto::QoS::at_most_once && dropped_qos0() > 0) {
      missing.qos0.emplace(m.id, nullptr);
      return;
    }
    if (m.qos != proto::QoS::at_most_once && dropped_queued() > 0) {
      trace_.line("the group misses ", m.name());
      missing.queued.emplace(m.id, "");
      return;
    }
    trace_.fail(text(m.name(), ' ', m.topic, " of ", m.client, " came to no member of the group, but ",
                     client.owner->name(), " is there"),
                {m.name(), id});
  }
}

// Members whose sessions last give away nothing but to another: what was acknowledged has come to one of them.
void Oracle::check_groups() {
  if (!durable_members || dropped_queued() > 0) return;
  for (const Message& m : messages_) {
    if (!m.topic.starts_with("g/") || !m.members.empty() || m.acked == kNever || last_quit_ >= m.handed) continue;
    const bool wanted = std::any_of(clients_.begin(), clients_.end(), [&](const auto& entry) {
      const Session* session = entry.second.session;
      return session != nullptr && session->binds(m.topic, m.handed, true) &&
             (m.connection == nullptr || known_there(entry.second, m, true));
    });
    if (wanted) {
      return trace_.fail(text(m.name(), ' ', m.topic, " of ", m.client, " (QoS ", static_cast<int>(m.qos),
                              ", acknowledged) never came to a member of the group"),
                         {m.name()});
    }
  }
}

bool Oracle::dominates(const RetainedWrite& later, const RetainedWrite& earlier) const {
  const Message& a = messages_[later.id - 1];
  const Message& b = messages_[earlier.id - 1];
  const bool sure = a.acked != kNever || (a.accepted && !a.refused && a.connection->process.alive);
  if (!sure) return false;
  // Its home may have had no credit.
  if (a.qos == proto::QoS::at_most_once && world_.total(metrics::Counter::publish_dropped_bus) > 0) return false;
  if (a.qos == proto::QoS::exactly_once && a.handings > 1) return false;  // one of its sendings only was looked at
  if (!ordered_by_redis(a, b)) return false;
  if (later.connection == earlier.connection) return true;
  return b.handings == 1 && b.acked != kNever && b.acked < a.handed;
}

std::vector<std::string> Oracle::retained_candidates(std::string_view topic) const {
  const auto it = retained_.find(topic);
  if (it == retained_.end()) return {""};
  const std::vector<RetainedWrite>& writes = it->second;
  std::vector<std::string> out;
  bool all_sure = false;
  for (size_t i = 0; i < writes.size(); ++i) {
    bool beaten = false;
    for (size_t j = i + 1; j < writes.size() && !beaten; ++j) beaten = dominates(writes[j], writes[i]);
    const Message& m = messages_[writes[i].id - 1];
    if (!beaten) out.push_back(m.payload());
    const bool undropped =
        m.qos != proto::QoS::at_most_once || world_.total(metrics::Counter::publish_dropped_bus) == 0;
    if (gone_with_its_host(m)) continue;
    all_sure = all_sure || m.acked != kNever || (m.accepted && !m.refused && m.connection->process.alive && undropped);
  }
  if (!all_sure) out.push_back("");
  return out;
}

void Oracle::check_retained(const std::vector<std::map<std::string, std::string>>& seen_by_worker) {
  for (const auto& [topic, writes] : retained_) {
    std::string value;
    for (size_t worker = 0; worker < seen_by_worker.size(); ++worker) {
      const auto it = seen_by_worker[worker].find(topic);
      const std::string here = it == seen_by_worker[worker].end() ? "" : it->second;
      if (worker == 0) value = here;
      if (here != value) {
        return trace_.fail(text("retained ", topic, ": slot 0 has '", value, "', slot ", worker, " has '", here, "'"),
                           {topic});
      }
    }
    const std::vector<std::string> allowed = retained_candidates(topic);
    if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
      std::string list;
      for (const std::string& a : allowed) list += text(" '", a, "'");
      return trace_.fail(text("retained ", topic, " is '", value, "', allowed:", list), {topic});
    }
  }
}

}  // namespace sim
