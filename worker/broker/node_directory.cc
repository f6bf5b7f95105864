#include "worker/broker/node_directory.h"

#include <utility>

#include "shared/bus/frames.h"
#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"

namespace broker {

using cluster::Status;
using Where = session::Directory::Where;
using Outcome = session::Directory::Outcome;

void NodeDirectory::answer(const WorkerId& home, std::string_view id, Where where, uint64_t epoch) {
  Peer* peer = core_.peers->find(home);
  if (peer == nullptr) return;  // its replacement asks again
  bus::Writer(core_.scratch).put<uint64_t>(epoch).put<uint8_t>(static_cast<uint8_t>(where)).text(id);
  core_.peers->send(*peer, bus::FrameType::cluster_granted, bus::kAckSoon, core_.scratch);
}

bool NodeDirectory::on_claim(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto at_least = reader.get<uint64_t>();
  const auto held = reader.get<uint64_t>();
  const std::string id(reader.text());
  if (!reader.at_end()) return false;
  if (!joined_) {
    answer(from, id, Where::unknown, 0);
    return true;
  }
  core_.page.add(metrics::Counter::cluster_claims);
  if (held != 0) hold({from, id, held});
  core_.env.hub->claim(id, at_least, [this, from, id](Status status, const cluster::Claimed& claimed) {
    on_claimed(from, id, status, claimed);
  });
  return true;
}

void NodeDirectory::on_claimed(const WorkerId& home, const std::string& id, Status status,
                               const cluster::Claimed& claimed) {
  if (status != Status::ok) return answer(home, id, Where::unknown, 0);
  if (claimed.previous.empty() && core_.gateway->unsure()) {
    core_.env.hub->withdraw(id, claimed.epoch, [](Status) {});
    return answer(home, id, Where::unknown, 0);
  }
  if (!claimed.previous.empty() && claimed.previous != key_) {
    claimed_[id] = claimed.previous;
    return answer(home, id, Where::elsewhere, claimed.epoch);
  }
  // We had claimed it before, and may not know any more from whom.
  if (claimed.previous == key_) {
    core_.env.hub->holder(id, [this, home, id, epoch = claimed.epoch](Status s, const std::string& holder) {
      if (s != Status::ok) return answer(home, id, Where::unknown, 0);
      const bool elsewhere = !holder.empty() && holder != key_;
      if (elsewhere) claimed_[id] = holder;
      answer(home, id, elsewhere ? Where::elsewhere : Where::here, epoch);
    });
    return;
  }
  answer(home, id, Where::here, claimed.epoch);
}

bool NodeDirectory::on_held(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const auto outcome = reader.get<uint8_t>();
  const std::string id(reader.text());
  if (!reader.at_end() || outcome > static_cast<uint8_t>(Outcome::unheard)) return false;
  if (static_cast<Outcome>(outcome) == Outcome::ended || static_cast<Outcome>(outcome) == Outcome::unheard) {
    told_(id, epoch, claimed_from(id));  // where it came from it must not stay
    forget(id);
  } else if (static_cast<Outcome>(outcome) == Outcome::not_pulled) {
    kept_(id);
    forget(id);
  }
  // What waits when the cluster is lost, or is not there, is told anew by the homes when it is back; and what has ended
  // meanwhile is swept.
  if (!joined_) return true;
  refused_.erase(id);
  if (static_cast<Outcome>(outcome) != Outcome::not_pulled) over_.erase(id);
  settled_.push_back({from, id, epoch, static_cast<Outcome>(outcome)});
  run();
  return true;
}

void NodeDirectory::run() {
  while (joined_ && !settled_.empty() && core_.env.hub->outstanding() < kMaxOutstanding) {
    const Settled next = std::move(settled_.front());
    settled_.pop_front();
    settle(next);
  }
  if (!refused_.empty() && core_.now() >= retry_at_) {
    retry_at_ = core_.now() + static_cast<base::MonoMs>(core_.config.redis.lease * 100);
    for (auto& [id, refused] : std::exchange(refused_, {})) settled_.push_back(std::move(refused));
    sweep_soon();  // it may have ended while it was under way
  }
  release_over();
  sweep();
}

void NodeDirectory::release_over() {
  if (!joined_ || over_.empty() || !core_.gateway->all_have_told()) return;
  for (const auto& [id, s] : std::exchange(over_, {})) {
    core_.env.hub->release(id, s.epoch, [](Status) {});
    if (s.outcome == Outcome::unheard) answer_registered(s, true);
  }
}

// Not ours: what has this epoch, or a lower one. What has come since is told by itself.
void NodeDirectory::answer_registered(const Settled& s, bool ours) {
  Peer* home = core_.peers->find(s.home);
  if (home == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(ours ? s.epoch : s.epoch + 1).put<uint8_t>(ours).text(s.id);
  core_.peers->send(*home, bus::FrameType::cluster_registered, bus::kAckSoon, core_.scratch);
}

void NodeDirectory::settle(const Settled& s) {
  switch (s.outcome) {
    case Outcome::kept:
    case Outcome::offline:
    case Outcome::unheard:
      return hold(s);
    case Outcome::ended:
      if (!core_.gateway->all_have_told() && over_.size() < kMaxOver) {
        over_[s.id] = s;
        return;
      }
      return core_.env.hub->release(s.id, s.epoch, [](Status) {});
    case Outcome::not_pulled:
      return core_.env.hub->withdraw(s.id, s.epoch, [](Status) {});
  }
}

void NodeDirectory::note_stale(const std::string& id, uint64_t epoch) {
  const auto [it, added] = stale_.try_emplace(id, epoch);
  it->second = std::max(it->second, epoch);
  if (added) stale_order_.push_back(id);
  if (stale_order_.size() <= kMaxStale) return;
  stale_.erase(stale_order_.front());
  stale_order_.pop_front();
}

bool NodeDirectory::tell_stale(const WorkerId& home, const std::string& id, uint64_t held) {
  const auto it = stale_.find(id);
  if (it == stale_.end() || held >= it->second) return false;
  if (Peer* peer = core_.peers->find(home)) {
    bus::Writer(core_.scratch).put<uint64_t>(it->second).put<uint8_t>(0).text(id);
    core_.peers->send(*peer, bus::FrameType::cluster_registered, bus::kAckSoon, core_.scratch);
  }
  return true;
}

void NodeDirectory::hold(const Settled& s) {
  // It comes from a store, and its worker had not told of it when we heard.
  if (tell_stale(s.home, s.id, s.epoch)) return;
  core_.env.hub->hold(s.id, s.epoch, [this, s](Status status, const cluster::Held& held) {
    if (status == Status::refused) refused_[s.id] = s;
    if (status != Status::ok) return;
    const bool ours = held.holder == key_;
    if (ours) {
      // Where it came from, and who held it: another claimant between the two may have died.
      const std::string from = claimed_from(s.id);
      forget(s.id);
      told_(s.id, s.epoch, from);
      if (held.previous != from) told_(s.id, s.epoch, held.previous);  // it may have come by way of who held it later
    } else {
      kept_(s.id);
      forget(s.id);
    }
    if (ours && s.outcome == Outcome::unheard) {
      over_[s.id] = s;
      release_over();
    } else {
      answer_registered(s, ours);
    }
  });
}

void NodeDirectory::on_joined(const std::string& key) {
  key_ = key;
  joined_ = true;
  sweep_soon();
}

void NodeDirectory::on_lost() {
  joined_ = false;
  settled_.clear();
  refused_.clear();
  over_.clear();
  sweep_at_ = 0;
}

// --- what is left over ---

void NodeDirectory::sweep_soon() {
  if (sweep_at_ != 0 && swept_ == 0) return;
  sweep_at_ = core_.now() + static_cast<base::MonoMs>(core_.config.redis.lease * 1000);
  swept_ = 0;
}

// One part of the directory with every call.
void NodeDirectory::sweep() {
  if (!joined_ || sweep_at_ == 0 || core_.now() < sweep_at_ || !settled_.empty()) return;
  if (core_.env.hub->outstanding() >= kMaxOutstanding) return;
  core_.env.hub->mine(swept_, [this](Status, const std::vector<cluster::Hub::Mine>& all) {
    for (const cluster::Hub::Mine& mine : all) show(mine);
  });
  if (++swept_ < core_.env.hub->directory_parts()) return;
  sweep_at_ = 0;
  swept_ = 0;
}

// The home has it taken out if it knows nothing of it.
void NodeDirectory::show(const cluster::Hub::Mine& mine) {
  Peer* home = core_.peers->find(core_.home_of(mine.client));
  if (home == nullptr) return;
  if (mine.holds && over_.contains(mine.client)) return;
  if (mine.holds) {
    bus::Writer(core_.scratch).put<uint64_t>(mine.epoch).put<uint8_t>(1).text(mine.client);
    core_.peers->send(*home, bus::FrameType::cluster_registered, bus::kAckSoon, core_.scratch);
  } else {
    answer(home->id, mine.client, Where::left, mine.epoch);
  }
}

std::string NodeDirectory::claimed_from(std::string_view id) const {
  const auto it = claimed_.find(std::string(id));
  return it == claimed_.end() ? std::string() : it->second;
}

}  // namespace broker
