// What a cluster's faults excuse, and nothing else of it:
//   - between hosts of which one is troubled (no Redis, no lease, no gateway) a subscription is not known until
//     everything has come to rest once (C5), QoS 0 is lost, and two connections of a client id may live (C7, C8);
//   - a host whose lease has run out may be adopted: its connections are closed, its wills fire though it lives;
//   - what a host did while it was troubled is in its stores only: if it dies or is adopted then, what its sessions
//     became meanwhile is not known;
//   - a gateway that opens without having heard of all other hosts (Redis away, or one that does not answer for a whole
//     lease) passes on nothing for those (not excused with --strict: C6 has no such exception);
//   - a QoS 1 message of a shared group may come to two members when any host was troubled: it is given on when a lease
//     has run out;
//   - a Redis that comes back empty or older has lost what was on its way between hosts, and what dead hosts had left.
#include <algorithm>

#include "tests/sim/identity.h"
#include "tests/sim/oracle.h"

namespace sim {

bool Oracle::apart(const Connection& a, const Connection& b) const {
  if (!elsewhere(a, b)) return false;
  return world_.trouble_begin(a.process.host) != kNever || world_.trouble_begin(b.process.host) != kNever;
}

bool Oracle::may_be_fenced(const Connection& connection) const {
  const Step lost = world_.host(connection.process.host).lost_lease;
  return lost != 0 && connection.connect_handed != kNever && lost >= connection.connect_handed;
}

bool Oracle::out_of_reach(const Connection& connection) const {
  return std::ranges::any_of(world_.hosts(), [&](const auto& host) {
    const Step since = connection.connect_handed;
    return host->index != connection.process.host && host->lost_lease != 0 &&
           (host->lost_lease >= since || world_.troubled_since(host->index, since));
  });
}

// --- deliveries ---

uint32_t Oracle::host_at(const Client& client, Step step) const {
  const Connection* last = nullptr;
  for (const Connection* c : client.connections) {
    if (c->connack_sent > step) continue;  // or never
    if (last == nullptr || c->connack_sent > last->connack_sent) last = c;
  }
  return last == nullptr ? client.owner->process.host : last->process.host;
}

bool Oracle::known_there(const Client& client, const Message& m, bool shared) const {
  const uint32_t x = m.connection->process.host;
  const uint32_t y = client.owner->process.host;
  if (x == y && x == host_at(client, m.handed)) return true;
  const auto& all = client.session->subscriptions;
  return std::any_of(all.begin(), all.end(), [&](const Subscription& s) {
    return s.shared() == shared && s.binds(m.handed) && s.matches(m.topic) &&
           world_.routed(x, s.host, s.granted, m.handed) && world_.routed(x, y, s.granted, m.handed);
  });
}

bool Oracle::qos0_excused(const Client& client, const Message& m) const {
  const uint32_t x = m.connection->process.host;
  const uint32_t y = client.owner->process.host;
  if (x == y || std::min(m.qos, client.session->qos) != proto::QoS::at_most_once) return false;
  return world_.troubled_since(x, m.handed) || world_.troubled_since(y, m.handed);
}

bool Oracle::blind(const Client& client, const Message& m) const {
  const uint32_t x = m.connection->process.host;
  return !strict && x != client.owner->process.host && world_.blind_at(x, m.handed);
}

bool Oracle::cluster_troubled_since(Step step) const {
  return std::ranges::any_of(world_.hosts(),
                             [&](const auto& host) { return world_.troubled_since(host->index, step); });
}

// It may have been on its way to another host, though there are members here: QoS 0 is lost then, and QoS 2 is given up
// when that host's lease has run out.
bool Oracle::shared_excused(const Message& m) const {
  if (m.qos == proto::QoS::at_most_once) return cluster_troubled_since(m.handed);
  return m.qos == proto::QoS::exactly_once &&
         std::ranges::any_of(world_.hosts(), [&](const auto& host) { return host->lost_lease >= m.handed; });
}

// Its host may have had to acknowledge the change without Redis.
bool Oracle::made_in_trouble(const Message& m) const {
  return world_.troubled_between(m.connection->process.host, m.handed, m.acked);
}

// A change that Redis had not heard of is in its host's stores only.
bool Oracle::gone_with_its_host(const Message& m) const {
  return world_.host(m.connection->process.host).gone && made_in_trouble(m);
}

// A change that was made while its host was troubled may get its place in the order later.
bool Oracle::ordered_by_redis(const Message& later, const Message& earlier) const {
  const uint32_t x = later.connection->process.host;
  const uint32_t y = earlier.connection->process.host;
  if (gone_with_its_host(later)) return false;
  if (later.qos == proto::QoS::at_most_once && world_.troubled_since(x, later.handed)) return false;
  return x == y || !made_in_trouble(earlier);
}

// --- sessions ---

void Oracle::split(Client& client, Connection& connection) {
  trace_.line(connection.name(), " is accepted on a host that is apart");
  std::vector<Subscription> maybe;
  if (client.session != nullptr) maybe = client.session->subscriptions;
  for (Subscription& s : maybe) s.granted = s.revoked = kNever;
  begin_session(client, connection);
  client.session->subscriptions = std::move(maybe);
  client.session->doubted = true;
}

// What the sessions of that host became since then is in its own stores only.
void Oracle::doubt_host(const Host& host, Step since) {
  trace_.line("what host ", host.index, " did since #", since, " is in doubt");
  last_leave_ = trace_.step();
  for (auto& [id, client] : clients_) {
    for (const Connection* connection : client.connections) {
      if (connection->process.host != host.index || connection->terms.will == 0) continue;
      if (connection->connect_handed == kNever || (connection->over() && connection->over_at() < since)) continue;
      Message& will = message(connection->terms.will);
      will.may_fire = true;
      will.accepted = false;
    }
    if (client.session == nullptr || client.owner->process.host != host.index) continue;
    if (client.owner->connack_sent >= since || !client.persistent) client.may_be_lost = client.may_rise = true;
    split(client, *client.owner);
    if (client.owner->live()) client.split = true;
  }
}

// What goes on elsewhere, if something does, is what was copied.
void Oracle::host_died(Host& host) {
  const Step since = world_.trouble_begin(host.index);
  host.doubtful = std::min(since, host.uncopied);
  if (host.gone) {
    if (host.doubtful != kNever) doubt_host(host, host.doubtful);
  } else if (since != kNever) {
    doubt_host(host, since);
  }
}

void Oracle::host_adopted(Host& host) {
  const Step since = host.down ? host.doubtful : world_.trouble_begin(host.index);
  if (since != kNever && !host.gone) doubt_host(host, since);
}

void Oracle::redis_lost() {
  for (auto& [id, client] : clients_) {
    Session* session = client.session;
    if (session == nullptr) continue;
    std::erase_if(session->owed, [&](const auto& owed) {
      const Message& m = message(owed.first);
      return elsewhere(*m.connection, *client.owner) && m.handed > world_.last_quiet();
    });
  }
  for (const auto& host : world_.hosts()) {
    if (host->down) doubt_host(*host, 0);
  }
}

void Oracle::check_one_live() {
  for (auto& [id, client] : clients_) {
    Connection* live = nullptr;
    for (Connection* connection : client.connections) {
      if (!connection->live()) continue;
      if (live != nullptr) {
        return require(false, *connection, text("C7: is live at rest, and so is ", live->name()));
      }
      live = connection;
    }
    if (!client.split) continue;
    client.split = false;
    if (live == nullptr) {
      client.may_be_lost = client.may_rise = true;
      if (client.session != nullptr) doubt_session(client, *client.owner);  // the other one may be the one that is left
      continue;
    }
    client.owner = live;
    client.session = live->session;
    client.persistent = live->terms.persistent;
  }
}

}  // namespace sim
