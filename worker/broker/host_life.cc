#include "worker/broker/host_life.h"

#include "shared/bus/frames.h"
#include "shared/store/record.h"
#include "worker/broker/claims.h"
#include "worker/broker/copier.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"
#include "worker/broker/strays.h"

namespace broker {
namespace {

constexpr uint64_t kWhole = UINT64_MAX;  // LifeRecord::copied_us

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

void HostLife::on_restored(session::Session& session, uint64_t wall_ms, uint64_t alive_ms) {
  if (core_.config.is_guest()) core_.page.add(metrics::Counter::sessions_adopted);
  if (!core_.config.clustered()) return core_.sessions->on_restored(session, wall_ms, alive_ms);
  restored_.push_back({session.id(), session.sid, wall_ms, alive_ms});
}

bool HostLife::on_life(std::string_view body) {
  bus::Reader reader(body);
  const auto cluster = reader.get<uint64_t>();
  const std::string_view key = reader.text();
  if (!reader.at_end() || key.empty()) return false;
  if (key != key_ || cluster != cluster_) {
    if (!key_.empty() && key != key_ && cluster == cluster_) give_up_what_was_copied();
    Peer* gateway = core_.peers->find(core_.gateway_slot());
    if (!key_.empty() && cluster != cluster_ && gateway != nullptr) {
      core_.peers->send(*gateway, bus::FrameType::redis_lost, bus::kAckSoon, {});
    }
    key_ = key;
    cluster_ = cluster;
    write();
  }
  known_ = true;
  go_on();
  return true;
}

void HostLife::give_up_what_was_copied() {
  copied_us_ = std::max(copied_us_, core_.copier->copied_us());
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
  if (!gone.empty() && core_.env.log) {
    core_.env.log(2, "this host has gone on at another one: its sessions are there",
                  {{"sessions", std::to_string(gone.size())}});
  }
}

// Who was faster than the life has its own connection by now.
void HostLife::go_on() {
  for (const Restored& restored : std::exchange(restored_, {})) {
    session::Session* session = core_.sessions->by_id(restored.id);
    if (session == nullptr || session->sid != restored.sid || session->outlet() != nullptr) continue;
    core_.sessions->on_restored(*session, restored.wall_ms, restored.alive_ms);
  }
}

void HostLife::note_copied() {
  const bool whole = known_ && core_.copier->whole() && !noted_whole_;
  if (!whole && !found_whole_) return;
  noted_whole_ = noted_whole_ || whole;
  write();
}

void HostLife::on_copy_ended() {
  if (std::exchange(noted_whole_, false)) write();
}

void HostLife::write() {
  found_whole_ = false;
  copied_us_ = std::max(copied_us_, core_.copier->copied_us());
  std::string key;
  std::string value;
  store::meta_key(key, "life");
  store::encode(value, store::LifeRecord{cluster_, noted_whole_ ? kWhole : copied_us_, key_});
  core_.journal->put(key, value);
}

}  // namespace broker
