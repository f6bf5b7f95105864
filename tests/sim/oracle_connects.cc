// C7: one live connection per client id, the session goes where the client goes, wills fire once.
#include <algorithm>

#include "tests/sim/identity.h"
#include "tests/sim/oracle.h"

namespace sim {
namespace {
constexpr base::MonoMs kConnectTimeoutMs = 10'000;  // config::Mqtt::connect_timeout
}  // namespace

void Oracle::require(bool condition, const Connection& connection, const std::string& what) {
  if (!condition) trace_.fail(text(connection.name(), ": ", what), {connection.owner.name()});
}

void Oracle::connection_made(Connection& connection) {
  clients_[connection.owner.name()].connections.push_back(&connection);
  if (connection.terms.will != 0) message(connection.terms.will).connection = &connection;
}

void Oracle::connect_handed(Connection& connection) {
  trace_.line(connection.name(), " CONNECT is with the worker");
}

void Oracle::connack_sent(Connection& connection, const proto::Connack& connack) {
  Client& client = clients_[connection.owner.name()];
  trace_.mix(connection.index);
  if (connack.reason != proto::ReasonCode::success) {
    connection.refused = connection.turned_away = true;
    trace_.line(connection.name(), " <= CONNACK ", proto::to_string(connack.reason));
    const bool excused = connection.process.store.has_failed() ||
                         world_.troubled_since(connection.process.host, connection.connect_handed) ||
                         out_of_reach(connection);
    require(excused || connack.reason != proto::ReasonCode::server_unavailable, connection,
            "is refused though the store is well");
    return;
  }
  ++connects_;
  trace_.line(connection.name(), " <= CONNACK", connack.session_present ? " with session" : "");
  require(connection.connack_sent == kNever, connection, "got a second CONNACK");
  bool alone = true;
  for (const Connection* other : client.connections) {
    if (other == &connection || !other->live()) continue;
    if (apart(connection, *other)) {
      alone = false;
      continue;
    }
    require(false, connection, text("C7: is accepted while ", other->name(), " of the same client id is live"));
  }
  // It may have been decided without the other host, which still has the session.
  if (client.session != nullptr && apart(connection, *client.owner)) alone = false;
  if (!alone) client.split = true;
  if (!client.split) check_session_present(client, connection, connack.session_present);
  connection.connack_sent = trace_.step();
  connection.connack_number = connects_;
  connection.quiet_before = world_.last_quiet();
  connection.session_present = connack.session_present;
  // What is present may be a session that somebody unanswered began after ours had ended with its connection.
  const Unanswered others = unanswered(client, connection);
  if (client.split) {
    split(client, connection);
  } else if (!connack.session_present || client.session == nullptr || !client.persistent) {
    begin_session(client, connection);
    client.session->doubted = connack.session_present && client.may_rise;
  } else if (others.ending || (client.may_be_lost && others.any)) {
    doubt_session(client, connection);
  }
  if (connack.session_present && client.session->connections == 0) client.session->connections = 1;  // nobody saw it
  client.owner = &connection;
  client.persistent = connection.terms.persistent;
  client.may_be_lost = false;
  if (!connack.session_present) client.may_rise = false;
  connection.session = client.session;
  if (client.split) client.session->doubted = true;
  client.session->connections += 1;
  client.session->announced.clear();
  for (const auto& other : world_.processes()) {
    const bus::Link* link = world_.link(connection.process, *other);
    if (link != nullptr) client.session->announced[other->index] = link->end();
  }
}

// Others of the same id that a worker has been asked for and that nobody ever answered: each may have had the session
// in between, or ended it.
Oracle::Unanswered Oracle::unanswered(const Client& client, const Connection& connection) const {
  Unanswered out;
  for (const Connection* other : client.connections) {
    if (other == &connection || other->connect_handed == kNever || other->connack_sent != kNever) continue;
    // (Over hosts claims go in the order in which Redis heard of them; what is held by a host it need not hear of.)
    const Connection* owner = client.owner;
    const Step settled = owner != nullptr && elsewhere(*owner, *other) ? owner->quiet_before : world_.last_quiet();
    if (owner != nullptr && other->over() && other->over_at() < owner->connack_sent && other->over_at() < settled) {
      continue;
    }
    out.any = true;
    if (other->terms.clean_start || !other->terms.persistent) out.ending = true;
  }
  return out;
}

void Oracle::check_session_present(Client& client, Connection& connection, bool present) {
  const Unanswered others = unanswered(client, connection);
  const bool exists = client.session != nullptr && client.persistent;
  if (present) {
    require(!connection.terms.clean_start, connection, "C7: session present after a clean start");
    require(exists || others.any || client.may_rise, connection, "C7: session present, but there can be none");
  } else if (!connection.terms.clean_start && exists) {
    require(client.may_be_lost || others.ending, connection, "C7: the session is lost: no session present");
  }
}

void Oracle::begin_session(Client& client, Connection& connection) {
  end_session(client);
  Session session;
  session.id = static_cast<uint32_t>(sessions_.size());
  session.client = connection.owner.name();
  session.qos = connection.owner.profile().qos;
  session.began = trace_.step();
  sessions_.push_back(std::move(session));
  client.session = &sessions_.back();
}

// It may be the session we know, or one that somebody unanswered began: what we know of it binds nobody any more.
void Oracle::doubt_session(Client& client, Connection& connection) {
  std::vector<Subscription> maybe = client.session->subscriptions;
  for (Subscription& s : maybe) s.granted = kNever;
  begin_session(client, connection);
  client.session->subscriptions = std::move(maybe);
  client.session->doubted = true;
}

void Oracle::end_session(Client& client) {
  if (client.session == nullptr) return;
  client.session->ended = trace_.step();
  client.session->owed.clear();
  client.session = nullptr;
  last_leave_ = last_quit_ = trace_.step();
}

// A worker may close a connection only because another of the same client id wants its place: one that is still there,
// or that overlapped with it and went away by itself.
void Oracle::check_rival(Connection& connection) {
  const Client& client = clients_[connection.owner.name()];
  if (client.split || may_be_fenced(connection)) return;
  const bool has_rival =
      std::any_of(client.connections.begin(), client.connections.end(), [&](const Connection* other) {
        if (other == &connection || other->connect_handed == kNever) return false;
        // One of the two may have been accepted without asking; the other has the higher epoch.
        const auto troubled = [&](const Connection& c) {
          return world_.troubled_since(c.process.host, connection.connect_handed);
        };
        if (elsewhere(*other, connection) && (troubled(*other) || troubled(connection))) return true;
        if (other->closed_by_broker != kNever && !other->disconnect_handed) return false;
        // The claim of one whose worker died may still come out of that worker's stream.
        const bool died = !other->process.alive;
        const Step over = died ? world_.end_of_mourning(other->process.died) : other->over_at();
        return over > connection.connect_handed;
      });
  if (!has_rival && refused_for_store(connection)) return;
  require(has_rival, connection, "C7: is closed by its worker though no other connection of its client id lasts");
}

// MQTT 3.x cannot be told otherwise that a message is not stored.
bool Oracle::refused_for_store(const Connection& connection) {
  if (connection.terms.version == proto::ProtocolVersion::v5 || !count_refusal(connection.process)) return false;
  for (const auto& [packet_id, id] : connection.published) message(id).refused = true;
  return true;
}

void Oracle::closed_by_broker(Connection& connection, bool unsettled) {
  trace_.line(connection.name(), " is closed by its worker");
  last_leave_ = trace_.step();
  // A CONNECT whose answer takes too long (its client id's home is dead or stands still) is given up.
  if (connection.connack_sent == kNever && world_.now_ms() >= connection.accepted_ms + kConnectTimeoutMs) return;
  if (connection.refused && connection.goodbye != proto::ReasonCode::session_taken_over) return;
  if (connection.turned_away && world_.troubled_since(connection.process.host, connection.connect_handed)) return;
  if (!connection.disconnect_handed) {
    ++takeovers_;
    check_rival(connection);
    if (connection.terms.version == proto::ProtocolVersion::v5) {
      require(connection.goodbye == proto::ReasonCode::session_taken_over || may_be_fenced(connection), connection,
              "C7: is closed without DISCONNECT 0x8E");
    }
    fire_will(connection, !may_be_fenced(connection));
  } else if (unsettled) {
    fire_will(connection, false);
  }
}

void Oracle::hung_up(Connection& connection, bool unsettled) {
  last_leave_ = trace_.step();
  if (connection.disconnect_handed && !unsettled) return;
  fire_will(connection, !connection.disconnect_handed);
}

void Oracle::fire_will(Connection& connection, bool certain) {
  if (connection.terms.will == 0) return;
  Message& will = message(connection.terms.will);
  will.may_fire = connection.connect_handed != kNever;
  will.connection = &connection;
  if (connection.connack_sent == kNever) {
    will.handed = trace_.step();
    return;
  }
  will.handed = trace_.step();
  will.handings = 1;
  will.accepted = certain;
  trace_.line(connection.name(), " ends unclean: will ", will.name(), certain ? " must fire" : " may fire");
  if (certain) register_owed(will);
}

bool Oracle::may_have_taken(const Client& client, const Connection& connection) const {
  if (connection.connect_handed == kNever || connection.connack_sent != kNever) return false;
  // One that is told of a newer claim while it pulls keeps the session for the newer one.
  if (!connection.over() || connection.over_at() > world_.last_quiet()) return true;
  return client.owner != nullptr && client.owner->closed_by_broker != kNever && !client.owner->disconnect_handed;
}

void Oracle::process_died(Process& process) {
  last_death_ = trace_.step();
  last_leave_ = trace_.step();
  for (auto& [id, client] : clients_) {
    for (Connection* connection : client.connections) {
      // Its will is in the store: it fires when the worker's replacement is there.
      if (&connection->process != &process) continue;
      if (!connection->over()) {
        fire_will(*connection, !connection->disconnect_handed);
      } else if (connection->disconnect_handed && connection->over_at() > world_.last_quiet() &&
                 connection->terms.will) {
        message(connection->terms.will).may_fire = true;  // DISCONNECT has no answer that would wait for the store
      }
    }
    shake(client, process);
  }
}

void Oracle::shake(Client& client, Process& process) {
  if (client.session == nullptr) return;
  if (client.persistent) {
    // It is in a store. What its client acknowledged last may not have come to be written.
    if (&client.owner->process != &process) return;
    for (auto& [id, receipt] : client.session->receipts) receipt.acked.clear();
    return;
  }
  bool by_dead = false;
  bool by_living = false;
  bool passed_through = false;
  for (const Connection* connection : client.connections) {
    const bool here = &connection->process == &process;
    // Its process counts as living here: it dies with this call.
    const bool was_alive = connection->process.alive || here;
    const bool owner = connection == client.owner;
    const bool candidate = owner
                               ? connection->closed_by_broker == kNever ||
                                     connection->closed_by_broker > world_.last_quiet() || connection->disconnect_handed
                               : was_alive && may_have_taken(client, *connection);
    if (candidate && was_alive) (here ? by_dead : by_living) = true;
    if (here && connection->connect_handed != kNever &&
        (!connection->over() || connection->over_at() > world_.last_quiet())) {
      passed_through = true;
    }
  }
  if (by_dead || passed_through) client.session->shaken = trace_.step();
  // Where it had come from it may still be stored.
  if (by_dead) client.may_rise = true;
  if (by_dead && by_living) client.may_be_lost = true;
  if (by_dead && !by_living) {
    trace_.line("session of ", client.session->client, " died with ", process.name());
    end_session(client);
  }
}

}  // namespace sim
