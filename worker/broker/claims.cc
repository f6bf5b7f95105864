#include "worker/broker/claims.h"

#include <cstdio>
#include <utility>

#include "shared/base/check.h"
#include "worker/broker/host_life.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/state_transfer.h"
#include "worker/broker/takeovers.h"
#include "worker/session/takeover_state.h"

namespace broker {

using Outcome = session::Directory::Outcome;

namespace {
constexpr std::string_view kUnheard = "unheard/";
}  // namespace

Claims::Claims(Core& core)
    : core_(core),
      directory_(*core.env.clock, *this, core.config.clustered(),
                 core.config.redis.redis_down == config::RedisDown::accept) {
  directory_.on_starting();
}

connection::MqttClient* Claims::client_of(const Claim& claim) const {
  return claim.has_client ? core_.clients->find(claim.client) : nullptr;
}

std::string Claims::make_client_id() {
  char text[40];
  std::snprintf(text, sizeof text, "auto-%016llx%016llx", static_cast<unsigned long long>(core_.env.random->next()),
                static_cast<unsigned long long>(core_.env.random->next()));
  return text;
}

void Claims::claim(connection::MqttClient& client, const connection::ConnectRequest& request) {
  const uint64_t number = next_number_++;
  client.claim_number = number;
  Claim& claim = claims_[number];
  claim.client = ref_of(client);
  claim.id = request.client_id.empty() ? make_client_id() : request.client_id;
  claim.clean_start = request.clean_start;
  send_claim(number, claim);
}

void Claims::send_claim(uint64_t number, const Claim& claim) {
  const uint32_t home = core_.home_of(claim.id);
  if (home == core_.self.slot) {
    const std::string id = claim.id;
    directory_.on_claim(core_.self, id, number, claim.clean_start);
    return;
  }
  Peer* peer = core_.peers->find(home);
  if (peer == nullptr) return;  // sent again when the home is back: resend_to()
  bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(claim.clean_start).put<uint64_t>(0).text(claim.id);
  core_.peers->send(*peer, bus::FrameType::claim, bus::kAckSoon, core_.scratch);
}

void Claims::abandon(const connection::MqttClient& client) {
  const auto it = claims_.find(client.claim_number);
  if (it == claims_.end() || it->second.client != ref_of(client)) return;
  Claim& claim = it->second;
  claim.has_client = false;
  if (claim.pulling && claim.incoming == nullptr && claim.holder.slot == core_.gateway_slot())
    withdraw(it->first, claim);
}

// The other host may be out of reach for long, and the client back there before it is asked. If nothing has come of the
// session the gateway answers that there is none, see on_state_begin().
void Claims::withdraw(uint64_t number, const Claim& claim) {
  Peer* gateway = core_.peers->find(claim.holder);
  if (gateway == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(number);
  core_.peers->send(*gateway, bus::FrameType::takeover_abort, bus::kAckSoon, core_.scratch);
}

// --- home ---

bool Claims::on_claim(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const bool clean = reader.get<uint8_t>() != 0;
  const auto foreign = reader.get<uint64_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end() || core_.home_of(id) != core_.self.slot) return false;
  if (core_.peers->ready()) {
    directory_.on_claim(from, id, number, clean, foreign);
  } else {
    early_.push_back({from, std::string(id), number, clean, foreign});
  }
  return true;
}

void Claims::on_ready() {
  directory_.on_ready();
  for (const EarlyLeft& left : std::exchange(early_left_, {})) {
    if (left.ours) {
      directory_.on_registered(left.id, left.epoch, *left.ours);
    } else {
      directory_.on_answer(left.id, session::Directory::Where::left, left.epoch, core_.self);
    }
  }
  const std::vector<EarlyClaim> early = std::move(early_);
  early_.clear();
  for (const EarlyClaim& claim : early) {
    if (core_.peers->find(claim.from) == nullptr) continue;
    directory_.on_claim(claim.from, claim.id, claim.number, claim.clean, claim.foreign);
  }
  joined_ = core_.config.clustered();
  on_life_settled();
}

void Claims::on_life_settled() {
  if (!joined_ || !core_.peers->ready() || !core_.life->settled()) return;
  joined_ = false;
  directory_.register_all(gateway());
}

std::optional<WorkerId> Claims::gateway() const {
  const Peer* peer = core_.peers->find(core_.gateway_slot());
  return peer == nullptr ? std::nullopt : std::optional(peer->id);
}

void Claims::on_recovered() {
  if (!core_.peers->all_recovered()) return;
  for (const EarlyPull& pull : std::exchange(early_pulls_, {})) {
    if (Peer* peer = core_.peers->find(pull.from)) on_pull(*peer, pull.body);
  }
  settle_doubts();
}

uint64_t Claims::doubt() {
  return ++doubts_;
}

// Who has recovered has told everybody what it holds, and they have read that. So the homes know which of several is
// the owner, and have said so to the others in front of their word that they have read what is sent them here.
void Claims::settle_doubts() {
  if (settled_ == doubts_ || !core_.peers->all_recovered()) return;
  settled_ = doubts_;
  const uint64_t told = core_.peers->next_announcement();
  core_.peers->ask_to_acknowledge();
  core_.peers->for_each([&](Peer& peer) { core_.peers->note_announced(peer, told); });
  core_.peers->when_announced(told, [this, last = doubts_] {
    std::vector<session::Session*> certain;
    core_.sessions->for_each([&](session::Session& session) {
      if (session.unconfirmed == 0 || session.unconfirmed > last) return;
      session.unconfirmed = 0;
      certain.push_back(&session);
    });
    for (session::Session* session : certain) core_.shared->on_member_certain(*session);
    core_.shared->on_confirmed();
  });
}

void Claims::grant(const WorkerId& to, uint64_t number, uint64_t epoch, const std::optional<WorkerId>& holder) {
  if (to == core_.self) {
    handle_grant(number, epoch, holder);
    return;
  }
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return;
  const WorkerId at = holder.value_or(WorkerId{});
  bus::Writer(core_.scratch)
      .put<uint64_t>(number)
      .put<uint64_t>(epoch)
      .put<uint8_t>(holder.has_value())
      .put<uint32_t>(at.slot)
      .put<uint64_t>(at.incarnation);
  core_.peers->send(*peer, bus::FrameType::grant, bus::kAckSoon, core_.scratch);
}

void Claims::superseded(const WorkerId& to, uint64_t number) {
  if (to == core_.self) {
    handle_superseded(number);
    return;
  }
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(number);
  core_.peers->send(*peer, bus::FrameType::superseded, bus::kAckSoon, core_.scratch);
}

void Claims::stale(const WorkerId& to, std::string_view id, uint64_t epoch) {
  if (to == core_.self) {
    handle_stale(id, epoch);
    return;
  }
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return;  // its replacement will tell what it has
  bus::Writer(core_.scratch).put<uint64_t>(epoch).text(id);
  core_.peers->send(*peer, bus::FrameType::stale, bus::kAckSoon, core_.scratch);
}

bool Claims::hang_up(const WorkerId& to, std::string_view id, uint64_t epoch) {
  if (to == core_.self) {
    handle_hang_up(id, epoch);
    return false;
  }
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return false;
  bus::Writer(core_.scratch).put<uint64_t>(epoch).text(id);
  core_.peers->send(*peer, bus::FrameType::hang_up, bus::kAckSoon, core_.scratch);
  return true;
}

void Claims::refused(const WorkerId& to, uint64_t number) {
  if (to == core_.self) {
    handle_refused(number);
    return;
  }
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(number);
  core_.peers->send(*peer, bus::FrameType::claim_refused, bus::kAckSoon, core_.scratch);
}

// --- the cluster's directory ---

// Not there, or it would be told what is about to be given up: on_life_settled(). Without Redis nobody is told, and a
// worker that is new does not hear of its life.
std::optional<WorkerId> Claims::ask(std::string_view id, uint64_t at_least, uint64_t held) {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  joined_ = joined_ || core_.life->unsettled();
  if (gateway == nullptr || (core_.life->unsettled() && reachable_)) return std::nullopt;
  // What is unsure is not told of: if another host has it that counts.
  if (held <= core_.life->unsure_until() || core_.life->unsettled()) held = 0;
  bus::Writer(core_.scratch).put<uint64_t>(at_least).put<uint64_t>(held).text(id);
  core_.peers->send(*gateway, bus::FrameType::cluster_claim, bus::kAckSoon, core_.scratch);
  return gateway->id;
}

void Claims::settled(std::string_view id, uint64_t epoch, Outcome outcome) {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (gateway == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(epoch).put<uint8_t>(static_cast<uint8_t>(outcome)).text(id);
  core_.peers->send(*gateway, bus::FrameType::cluster_held, 0, core_.scratch);
}

// With a store that fails the grant does not wait for it.
bool Claims::note_unheard(std::string_view id, uint64_t epoch) {
  std::string key;
  store::meta_key(key, std::string(kUnheard).append(id));
  if (epoch == 0) {
    core_.journal->erase(key);
    return false;
  }
  std::string value;
  store::encode_number(value, epoch);
  core_.journal->put(key, value);
  if (core_.journal->refuses()) return false;
  core_.journal->then([this, name = std::string(id), epoch] { directory_.on_noted(name, epoch); });
  return true;
}

// Not of this host any more, if it has left the cluster.
bool Claims::restore(std::string_view name, std::string_view value) {
  if (!name.starts_with(kUnheard)) return true;
  const std::string_view id = name.substr(kUnheard.size());
  uint64_t epoch = 0;
  if (!store::decode_number(value, epoch)) return false;
  if (core_.config.clustered() && core_.home_of(id) == core_.self.slot) {
    directory_.restore_unheard(id, epoch);
  } else {
    note_unheard(id, 0);
  }
  return true;
}

bool Claims::on_cluster_granted(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const auto where = reader.get<uint8_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end() || where > static_cast<uint8_t>(session::Directory::Where::left)) return false;
  if (core_.peers->ready()) {
    directory_.on_answer(id, static_cast<session::Directory::Where>(where), epoch, from);
  } else {
    early_left_.push_back({std::string(id), epoch, {}});
  }
  return true;
}

bool Claims::on_cluster_registered(std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const bool ours = reader.get<uint8_t>() != 0;
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  if (core_.peers->ready()) {
    directory_.on_registered(id, epoch, ours);
  } else {
    early_left_.push_back({std::string(id), epoch, ours});
  }
  return true;
}

void Claims::on_cluster_joined() {
  joined_ = reachable_ = true;
  on_life_settled();
}

void Claims::on_cluster_lost() {
  reachable_ = false;
  directory_.on_cluster_lost(gateway());
}

bool Claims::on_held(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const auto outcome = reader.get<uint8_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end() || outcome > static_cast<uint8_t>(Outcome::not_pulled)) return false;
  directory_.on_held(from, id, number, static_cast<Outcome>(outcome));
  return true;
}

bool Claims::on_release(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  if (epoch == 0) {
    directory_.on_forgotten(from, id);
  } else {
    directory_.on_release(from, id, epoch);
  }
  return true;
}

bool Claims::on_holding(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const auto number = reader.get<uint64_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  directory_.on_holding(from, id, epoch, number, from.slot == core_.gateway_slot());
  return true;
}

// --- claimant ---

bool Claims::on_grant(std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const auto epoch = reader.get<uint64_t>();
  const bool has_holder = reader.get<uint8_t>() != 0;
  WorkerId holder;
  holder.slot = reader.get<uint32_t>();
  holder.incarnation = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  handle_grant(number, epoch, has_holder ? std::optional(holder) : std::nullopt);
  return true;
}

bool Claims::on_superseded(std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  handle_superseded(number);
  return true;
}

void Claims::handle_superseded(uint64_t number) {
  const auto it = claims_.find(number);
  if (it == claims_.end()) return;
  connection::MqttClient* client = client_of(it->second);
  claims_.erase(it);
  if (client != nullptr) client->on_superseded();
}

void Claims::handle_refused(uint64_t number) {
  const auto it = claims_.find(number);
  if (it == claims_.end()) return;
  connection::MqttClient* client = client_of(it->second);
  claims_.erase(it);
  if (client != nullptr) client->on_refused(proto::ReasonCode::server_unavailable);
}

bool Claims::on_claim_refused(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = claims_.find(number);
  if (it == claims_.end()) return true;
  if (from.slot == core_.gateway_slot()) {  // it was granted, but cannot be pulled: the home is to hear of it
    if (session::Session* half = std::exchange(it->second.incoming, nullptr)) core_.sessions->forget(*half);
    report(it->second.id, number, Outcome::not_pulled);
  }
  handle_refused(number);
  return true;
}

bool Claims::on_restart(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  Claim* claim = awaited(reader.get<uint64_t>(), from);
  if (claim != nullptr && claim->incoming != nullptr) claim->incoming->clear_messages();
  return reader.at_end();
}

// Claimed anew: the home knows now where it is.
bool Claims::on_reclaim(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  if (awaited(number, from) == nullptr) return true;
  const auto it = claims_.find(number);
  if (session::Session* half = std::exchange(it->second.incoming, nullptr)) core_.sessions->forget(*half);
  connection::MqttClient* client = client_of(it->second);
  const Claim old = std::move(it->second);
  claims_.erase(it);
  report(old.id, number, Outcome::not_pulled);
  if (client == nullptr) return true;
  const uint64_t again = next_number_++;
  client->claim_number = again;
  Claim& claim = claims_[again];
  claim.client = old.client;
  claim.id = old.id;
  claim.clean_start = old.clean_start;
  send_claim(again, claim);
  return true;
}

bool Claims::on_stale(std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  handle_stale(id, epoch);
  return true;
}

void Claims::handle_stale(std::string_view id, uint64_t epoch) {
  session::Session* session = core_.sessions->find(id);
  if (session != nullptr && !session->arriving && session->epoch < epoch) {
    core_.takeovers->on_stale(*session);
    give_way(*session);
  }
  core_.journal->after_turn([this, name = std::string(id)] { send_release(name, 0); });
}

bool Claims::on_hang_up(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  handle_hang_up(id, epoch);
  std::string answer;
  bus::Writer(answer).text(id);
  core_.peers->send(from, bus::FrameType::hung_up, bus::kAckSoon, answer);
  return true;
}

bool Claims::on_hung_up(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  directory_.on_hung_up(from, id);
  return true;
}

void Claims::handle_hang_up(std::string_view id, uint64_t epoch) {
  session::Session* session = core_.sessions->find(id);
  if (session != nullptr && session->epoch < epoch) core_.sessions->hang_up(*session);
}

// Nobody has pulled it: it was accepted here while the cluster could not be asked, or it comes from the store of a
// worker that was dead when its client began anew. What ends with its connection, or with itself, is for all.
void Claims::give_way(session::Session& session) {
  if (session.outlet() != nullptr) {
    core_.sessions->settle_before_takeover(session, false);
  } else {
    core_.sessions->fire_will(session);
  }
  core_.sessions->forget(session);
}

void Claims::handle_grant(uint64_t number, uint64_t epoch, const std::optional<WorkerId>& holder) {
  const auto it = claims_.find(number);
  if (it == claims_.end()) return;
  Claim& claim = it->second;
  claim.granted = true;
  claim.epoch = epoch;
  if (client_of(claim) == nullptr) {
    const std::string id = claim.id;
    claims_.erase(it);
    report(id, number, Outcome::not_pulled);
    return;
  }
  if (!holder) {
    finish(it, nullptr);
  } else if (*holder == core_.self) {
    session::Session* session = core_.sessions->find(claim.id);
    if (session != nullptr) {
      const bool discard = claim.clean_start || !session->durable();
      claim.changes = core_.journal->changes();
      core_.sessions->settle_before_takeover(*session, discard);
      if (discard) {
        core_.sessions->end(*session);
        session = nullptr;
      } else {
        core_.takeovers->stay(*session);
        core_.shared->on_member_offline(*session);  // until its new connection is answered
      }
    }
    finish(it, session);
  } else {
    claim.holder = *holder;
    pull(number, claim);
  }
}

void Claims::pull(uint64_t number, Claim& claim) {
  Peer* peer = core_.peers->find(claim.holder.slot);
  // An older process than the holder: its end is not known here yet. A newer one has replaced the holder.
  if (peer != nullptr && peer->id.incarnation < claim.holder.incarnation) peer = nullptr;
  claim.pulling = peer != nullptr;
  if (peer == nullptr) return;
  claim.holder = peer->id;
  bus::Writer(core_.scratch)
      .put<uint64_t>(number)
      .put<uint64_t>(claim.epoch)
      .put<uint8_t>(claim.clean_start)
      .text(claim.id);
  core_.peers->send(*peer, bus::FrameType::pull, bus::kAckSoon, core_.scratch);
}

Claims::Claim* Claims::awaited(uint64_t number, const Peer& from) {
  const auto it = claims_.find(number);
  return it != claims_.end() && it->second.pulling && it->second.holder == from.id ? &it->second : nullptr;
}

bool Claims::on_state_begin(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const bool found = reader.get<uint8_t>() != 0;
  Claim* claim = awaited(number, from);
  if (claim == nullptr) return reader.ok();
  if (!found) {
    // What was held for a session that its owner's replacement does not have goes with it.
    if (session::Session* half = std::exchange(claim->incoming, nullptr)) core_.sessions->forget(*half);
    if (client_of(*claim) == nullptr && from.id.slot == core_.gateway_slot()) {
      // Nobody was told that the session is gone. It may be there still, on a host that cannot be asked.
      const std::string id = claim->id;
      claims_.erase(number);
      report(id, number, Outcome::not_pulled);
      return reader.at_end();
    }
    if (session::Session* old = core_.sessions->find(claim->id)) give_way(*old);  // out of date
    finish(claims_.find(number), nullptr);
    return reader.at_end();
  }
  // One that we were told is stale, but not yet told of.
  if (session::Session* old = core_.sessions->find(claim->id); old != nullptr && old != claim->incoming) {
    give_way(*old);
  }
  if (claim->incoming == nullptr) {
    claim->incoming = &core_.sessions->create(claim->id);
    claim->incoming->inbound = std::make_unique<session::Inbound>();
    claim->incoming->arriving = true;
  }
  session::Session& session = *claim->incoming;
  if (!read_session_head(reader, core_, session)) return false;
  core_.takeovers->start_inbound(session, from.id, number);
  return true;
}

bool Claims::on_state_delivery(Peer& from, std::string_view body, const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const Claim* claim = awaited(reader.get<uint64_t>(), from);
  if (claim == nullptr || claim->incoming == nullptr) return reader.ok();
  return read_session_delivery(reader, attachment, core_, *claim->incoming);
}

bool Claims::on_state_end(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  Claim* claim = awaited(number, from);
  if (claim == nullptr || claim->incoming == nullptr) return reader.ok();
  session::Session* session = claim->incoming;
  std::map<uint64_t, uint64_t> seen;
  if (!read_session_end(reader, *session, seen)) return false;
  const std::vector<TicketId> held = core_.takeovers->finish_inbound(*session, seen);
  finish(claims_.find(number), session, true);
  for (const TicketId ticket : held) core_.journal->wait(ticket);
  return true;
}

void Claims::finish(Map::iterator it, session::Session* session, bool moved) {
  const uint64_t number = it->first;
  Claim& claim = it->second;
  claim.pulling = false;
  connection::MqttClient* client = client_of(claim);
  const uint64_t changes = claim.changes.value_or(core_.journal->changes());
  const bool present = session != nullptr;
  if (client != nullptr && !present) {
    if (core_.mqtt.max_sessions != 0 && core_.sessions->size() >= core_.mqtt.max_sessions) {
      const std::string id = claim.id;
      claims_.erase(it);
      report(id, number, Outcome::ended);
      client->on_refused(proto::ReasonCode::quota_exceeded);
      return;
    }
    session = &core_.sessions->create(claim.id);
  }
  if (session == nullptr) {
    const std::string id = claim.id;
    claims_.erase(it);
    report(id, number, Outcome::ended);
    return;
  }
  claim.incoming = session;
  claim.storing = true;
  session->arriving = true;
  if (moved) session->moved = true;
  session->epoch = claim.epoch;
  session->timers.reset();
  session->unconfirmed = 0;
  if (client != nullptr) {
    if (present && client->session_expiry() == 0) core_.records->erase_all(*session);  // ends with this connection
    session->expiry_interval = client->session_expiry();
    session->will = client->take_will();
    session->disconnected_at = 0;
  } else if (session->disconnected_at == 0) {
    session->disconnected_at = core_.env.clock->wall_us() / 1000;
  }
  if (moved) {
    core_.records->write_all(*session);
  } else {
    core_.records->write_head(*session);
  }
  const bool durable = session->durable();
  if (!durable) session->expiry_interval = 1;  // what comes before CONNACK is not dropped: see go_live()
  core_.shared->on_member_certain(*session);
  if (core_.journal->changes() == changes) {
    go_live(number, present, durable);
  } else {
    core_.journal->then([this, number, present, durable] { go_live(number, present, durable); });
  }
}

void Claims::go_live(uint64_t number, bool present, bool durable) {
  const auto it = claims_.find(number);
  if (it == claims_.end()) return;
  const Claim claim = std::move(it->second);
  claims_.erase(it);
  session::Session& session = *claim.incoming;
  session.arriving = false;
  connection::MqttClient* client = client_of(claim);
  if (client != nullptr) {
    session.expiry_interval = client->session_expiry();
    core_.page.add(metrics::Gauge::clients_connected, 1);
    client->on_session(session, present);
    session.attach(*client);
    core_.shared->on_member_online(session);
    report(claim.id, number, Outcome::kept);
    return;
  }
  // Nobody is there to use it: it is kept for the client's next connection, but for one that was begun for a client
  // that was never told (on another host that one may have a session that is older). A connection that never was has no
  // will.
  session.will.reset();
  if (!durable || !present) {
    core_.sessions->forget(session);
    report(claim.id, number, Outcome::ended);
    return;
  }
  core_.sessions->go_offline(session);
  core_.records->write_head(session);
  core_.shared->on_member_offline(session);
  report(claim.id, number, Outcome::offline);
}

void Claims::report(const std::string& id, uint64_t number, Outcome outcome) {
  const uint32_t home = core_.home_of(id);
  if (home == core_.self.slot) {
    directory_.on_held(core_.self, id, number, outcome);
    return;
  }
  Peer* peer = core_.peers->find(home);
  if (peer == nullptr) return;  // its replacement is told by sync_to()
  bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(static_cast<uint8_t>(outcome)).text(id);
  core_.peers->send(*peer, bus::FrameType::held, 0, core_.scratch);
}

void Claims::restore(const session::Session& session) {
  if (core_.home_of(session.client_id()) != core_.self.slot) return;
  directory_.on_holding(core_.self, session.client_id(), session.epoch, 0);
}

void Claims::release(const session::Session& session) {
  if (session.moved && core_.home_of(session.client_id()) != core_.self.slot) {
    ended_.push_back({session.client_id(), session.epoch});
    if (ended_.size() > kEndedKept) ended_.pop_front();
  }
  send_release(session.client_id(), session.epoch);
}

// Epoch 0: what was stale is forgotten.
void Claims::send_release(std::string_view id, uint64_t epoch) {
  const uint32_t home = core_.home_of(id);
  if (home == core_.self.slot) {
    if (epoch == 0) return directory_.on_forgotten(core_.self, id);
    return directory_.on_release(core_.self, id, epoch);
  }
  Peer* peer = core_.peers->find(home);
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(epoch).text(id);
  core_.peers->send(*peer, bus::FrameType::release, 0, core_.scratch);
}

// --- holder ---

bool Claims::on_pull(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const auto epoch = reader.get<uint64_t>();
  const bool clean_start = reader.get<uint8_t>() != 0;
  const std::string_view id = reader.text();
  if (!reader.at_end()) return false;
  if (!core_.peers->all_recovered()) {
    // What a dead worker had accepted for the session, or has for it in its outbox, has not come yet; and where the
    // session goes to it may be known already, for others there.
    early_pulls_.push_back({from.id, std::string(body)});
    return true;
  }
  session::Session* session = core_.sessions->find(id);
  if (session == nullptr || session->epoch >= epoch) {
    bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(0);
    core_.peers->send(from, bus::FrameType::state_begin, bus::kAckSoon, core_.scratch);
    return true;
  }
  const bool discard = clean_start || !session->durable();
  const uint64_t changes = core_.journal->changes();
  core_.sessions->settle_before_takeover(*session, discard);
  if (discard) {
    core_.sessions->end(*session);
    const auto say = [this, number, to = from.id] {
      Peer* peer = core_.peers->find(to);
      if (peer == nullptr) return;
      bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(0);
      core_.peers->send(*peer, bus::FrameType::state_begin, bus::kAckSoon, core_.scratch);
    };
    if (core_.journal->changes() == changes) {
      say();
    } else {
      core_.journal->then(say);  // a session that the client was told is gone must not come back
    }
  } else {
    core_.shared->on_member_offline(*session);
    send_head(core_, from, number, *session);
    core_.takeovers->start_outbound(*session, from.id, number);
  }
  return true;
}

// --- coming and going of peers ---

void Claims::sync_to(Peer& peer) {
  core_.sessions->for_each([&](const session::Session& session) {
    // What is moving here is spoken for by its claim.
    if (core_.home_of(session.client_id()) != peer.id.slot || session.arriving) return;
    bus::Writer(core_.scratch).put<uint64_t>(session.epoch).put<uint64_t>(0).text(session.client_id());
    core_.peers->send(peer, bus::FrameType::holding, 0, core_.scratch);
  });
  for (const Ended& ended : ended_) {
    if (core_.home_of(ended.id) == peer.id.slot) send_release(ended.id, ended.epoch);
  }
  for (const auto& [number, claim] : claims_) {
    if (!claim.granted || core_.home_of(claim.id) != peer.id.slot) continue;
    bus::Writer(core_.scratch).put<uint64_t>(claim.epoch).put<uint64_t>(number).text(claim.id);
    core_.peers->send(peer, bus::FrameType::holding, 0, core_.scratch);
  }
}

void Claims::resend_to(Peer& peer) {
  for (const auto& [number, claim] : claims_) {
    if (!claim.granted && core_.home_of(claim.id) == peer.id.slot) send_claim(number, claim);
  }
}

void Claims::on_peer_linked(Peer& peer) {
  if (peer.id.slot == core_.gateway_slot()) directory_.ask_again(peer.id);
  // Who waits for the session of a dead holder asks its replacement.
  std::vector<uint64_t> waiting;
  for (const auto& [number, claim] : claims_) {
    if (claim.granted && claim.holder.slot == peer.id.slot && !claim.pulling && !claim.storing)
      waiting.push_back(number);
  }
  for (const uint64_t number : waiting) {
    const auto it = claims_.find(number);
    if (it == claims_.end()) continue;
    if (it->second.incoming == nullptr && client_of(it->second) == nullptr) {
      const std::string id = it->second.id;
      claims_.erase(it);
      report(id, number, Outcome::not_pulled);
      continue;
    }
    it->second.holder = peer.id;
    pull(number, it->second);
  }
}

void Claims::on_peer_gone(const WorkerId& gone) {
  if (gone.slot == core_.gateway_slot()) reachable_ = false;
  directory_.on_worker_gone(gone);
  for (auto& [number, claim] : claims_) {
    if (claim.granted && !claim.storing && claim.holder == gone) {
      claim.pulling = false;
      if (claim.incoming != nullptr) claim.incoming->clear_messages();  // what had come of its state comes again
    }
  }
}

}  // namespace broker
