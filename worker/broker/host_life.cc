#include "worker/broker/host_life.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "shared/bus/frames.h"
#include "shared/store/record.h"
#include "worker/broker/accepted.h"
#include "worker/broker/claims.h"
#include "worker/broker/copier.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/missed.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/strays.h"

namespace broker {
namespace {

constexpr uint64_t kWhole = UINT64_MAX;  // LifeRecord::copied_us
constexpr std::string_view kAcceptedName = "accepted";
constexpr std::string_view kOutboxName = "outbox";

}  // namespace

bool HostLife::restore(std::string_view value) {
  store::LifeRecord record;
  if (!store::decode(value, record)) return false;
  cluster_ = record.cluster;
  found_whole_ = record.copied_us == kWhole;
  copied_us_ = found_whole_ ? core_.env.clock->wall_us() : record.copied_us;
  key_ = record.key;
  return true;
}

void HostLife::on_loaded() {
  if (found_whole_) {
    copied_to_ = {core_.accepted->next_number(), core_.outbox->next_number()};
    write();  // with the first of what is stored from now on
  }
  core_.accepted->reserve(copied_to_.accepted);
  core_.outbox->reserve(copied_to_.outbox);
}

uint64_t* HostLife::copied_to(std::string_view name) {
  if (name == kAcceptedName) return &copied_to_.accepted;
  return name == kOutboxName ? &copied_to_.outbox : nullptr;
}

void HostLife::on_restored(session::Session& session, uint64_t wall_ms, uint64_t alive_ms) {
  if (core_.config.is_guest()) core_.page.add(metrics::Counter::sessions_adopted);
  if (!core_.config.clustered()) return core_.sessions->on_restored(session, wall_ms, alive_ms);
  restored_[session.id()] = {session.sid, session.epoch, wall_ms, alive_ms};
}

bool HostLife::waits(const session::Session& session) const {
  const auto it = restored_.find(session.id());
  return it != restored_.end() && it->second.sid == session.sid && it->second.epoch == session.epoch;
}

bool HostLife::on_life(std::string_view body) {
  bus::Reader reader(body);
  const auto cluster = reader.get<uint64_t>();
  const std::string_view key = reader.text();
  if (!reader.at_end() || key.empty()) return false;
  if (key != key_ || cluster != cluster_) {
    if (!key_.empty() && key != key_ && cluster == cluster_) {
      changed_ = true;
      give_up_what_was_copied();
    }
    Peer* gateway = core_.peers->find(core_.gateway_slot());
    if (!key_.empty() && cluster != cluster_ && gateway != nullptr) {
      core_.peers->send(*gateway, bus::FrameType::redis_lost, bus::kAckSoon, {});
    }
    key_ = key;
    cluster_ = cluster;
    write();
  }
  known_ = true;
  core_.claims->set_unsure_until(0);
  show();
  go_on();
  core_.peers->for_each([this](Peer& peer) { tell(peer); });
  return true;
}

void HostLife::tell(Peer& peer) {
  if (peer.id.slot == core_.gateway_slot()) return;
  bus::Writer(core_.scratch).put<uint64_t>(cluster_).text(key_);
  core_.peers->send(peer, bus::FrameType::life, bus::kAckSoon, core_.scratch);
}

void HostLife::sync_to(Peer& peer) {
  if (known_) tell(peer);
}

bool HostLife::on_peer_life(Peer& peer, std::string_view body) {
  bus::Reader reader(body);
  reader.get<uint64_t>();
  peer.life = reader.text();
  if (!reader.at_end() || peer.life.empty()) return false;
  changed_ = changed_ && !settled();
  core_.claims->on_life_settled();
  return true;
}

// A worker that is not there, or has not told anything, holds what this one knows from before, if the life is the same.
bool HostLife::settled() const {
  if (!known_) return false;
  for (uint32_t slot = 0; slot < core_.homes; ++slot) {
    if (slot == core_.self.slot) continue;
    const Peer* peer = core_.peers->find(slot);
    const bool told = peer != nullptr && peer->life == key_;
    if (!told && (changed_ || (peer != nullptr && peer->synced))) return false;
  }
  return true;
}

void HostLife::on_ready() {
  if (unsure_until() == 0) return;
  core_.claims->set_unsure_until(unsure_until());
  show();
  if (core_.env.log) {
    core_.env.log(2, "the sessions of this host may have gone on at another one: redis is to say", {});
  }
}

void HostLife::show() const {
  uint64_t unsure = 0;
  if (unsure_until() != 0) {
    core_.sessions->for_each([&](const session::Session& session) { unsure += session.epoch <= unsure_until(); });
  }
  core_.page.set(metrics::Gauge::sessions_unsure, unsure);
}

void HostLife::give_up_what_was_copied() {
  copied_us_ = std::max(copied_us_, core_.copier->copied_us());
  core_.accepted->give_up(copied_us_, copied_to_.accepted);
  core_.shared->give_up(copied_to_);
  std::vector<std::string> gone;
  core_.sessions->for_each([&](const session::Session& session) {
    if (session.sid != 0 && !session.arriving && session.epoch <= copied_us_) gone.emplace_back(session.client_id());
  });
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  for (const std::string& id : gone) {
    if (session::Session* session = core_.sessions->find(id)) {
      if (gateway != nullptr) core_.interest->tell_given_up(*gateway, *session);
      core_.strays->send_after(*session);
      core_.claims->release(*session);
      core_.sessions->forget(*session);
    }
  }
  forget_seen();
  if (!gone.empty() && core_.env.log) {
    core_.env.log(2, "this host has gone on at another one: its sessions are there",
                  {{"sessions", std::to_string(gone.size())}});
  }
}

// What has been stored here was for sessions that are elsewhere now. To one that comes here it is new: the guest may
// route again what this host had accepted. Those that stay note what they have.
void HostLife::forget_seen() {
  const Marks accepted = core_.journal->accepted_seen();
  const Marks routed = core_.journal->routed_seen();
  core_.sessions->for_each([&](session::Session& session) {
    add_known(session.skip_once, accepted, session, true);
    add_known(session.came_with, routed, session, false);
    add_known(session.skip, routed, session, false);
    if (session.sid != 0) core_.records->write_head(session);
  });
  core_.journal->forget_seen();
  std::erase_if(core_.seen, [this](const auto& entry) { return core_.peers->is_dead(entry.first); });
}

// Who was faster than the life has claimed it, and has armed its timers or is about to be its connection.
void HostLife::go_on() {
  core_.accepted->on_life_known();
  if (core_.env.unsure_until_us != 0) core_.shared->on_life_known();
  for (const auto& [id, restored] : std::exchange(restored_, {})) {
    session::Session* session = core_.sessions->by_id(id);
    if (session == nullptr || session->sid != restored.sid || session->epoch != restored.epoch) continue;
    core_.sessions->on_restored(*session, restored.wall_ms, restored.alive_ms);
  }
}

void HostLife::note_copied() {
  if (!known_ || !core_.copier->whole() || std::exchange(noted_whole_, true)) return;
  write();
}

void HostLife::on_copy_ended(const CopiedTo& copied_to) {
  if (!std::exchange(noted_whole_, false)) return;
  copied_to_ = copied_to;
  write();
}

void HostLife::write() {
  copied_us_ = std::max(copied_us_, core_.copier->copied_us());
  std::string key;
  std::string value;
  store::meta_key(key, "life");
  store::encode(value, store::LifeRecord{cluster_, noted_whole_ ? kWhole : copied_us_, key_});
  core_.journal->put(key, value);
  for (const auto& [name, number] : {std::pair(kAcceptedName, copied_to_.accepted), {kOutboxName, copied_to_.outbox}}) {
    store::meta_key(key, name);
    store::encode_number(value, number);
    core_.journal->put(key, value);
  }
}

}  // namespace broker
