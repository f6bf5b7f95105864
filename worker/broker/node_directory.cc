#include "worker/broker/node_directory.h"

#include <utility>

#include "shared/bus/frames.h"
#include "worker/broker/peers.h"

namespace broker {

namespace {
constexpr uint64_t kAnyEpoch = (uint64_t{1} << 53) - 1;  // what every Redis script can count to
}

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
  const std::string id(reader.text());
  if (!reader.at_end()) return false;
  if (!joined_) {
    answer(from, id, Where::unknown, 0);
    return true;
  }
  core_.page.add(metrics::Counter::cluster_claims);
  core_.env.hub->claim(id, at_least, [this, from, id](Status status, const cluster::Claimed& claimed) {
    on_claimed(from, id, status, claimed);
  });
  return true;
}

void NodeDirectory::on_claimed(const WorkerId& home, const std::string& id, Status status,
                               const cluster::Claimed& claimed) {
  if (status != Status::ok) return answer(home, id, Where::unknown, 0);
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
  if (!reader.at_end() || outcome > static_cast<uint8_t>(Outcome::not_pulled)) return false;
  switch (static_cast<Outcome>(outcome)) {
    case Outcome::kept:
    case Outcome::offline:
      registrations_.push_back({from, id, epoch});
      run();
      break;
    case Outcome::ended:
      told_(id, epoch, claimed_from(id));  // where it came from it must not stay
      forget(id);
      // Whatever this host has claimed so far: a home that died may have left a claim that nobody knows of.
      if (joined_) core_.env.hub->release(id, kAnyEpoch, [](Status) {});
      break;
    case Outcome::not_pulled:
      forget(id);
      if (joined_) core_.env.hub->withdraw(id, epoch, [](Status) {});
      break;
  }
  return true;
}

// What waits when the cluster is lost is told anew by the homes when it is back.
void NodeDirectory::run() {
  while (joined_ && !registrations_.empty() && core_.env.hub->outstanding() < kMaxOutstanding) {
    Registration next = std::move(registrations_.front());
    registrations_.pop_front();
    register_now(std::move(next));
  }
}

void NodeDirectory::register_now(Registration r) {
  core_.env.hub->hold(r.id, r.epoch, [this, r](Status status, const cluster::Held& held) {
    if (status != Status::ok) return;
    const bool ours = held.holder == key_;
    if (ours) {
      const std::string from = claimed_from(r.id);
      forget(r.id);
      told_(r.id, r.epoch, from.empty() ? held.previous : from);
    }
    Peer* home = core_.peers->find(r.home);
    if (home == nullptr) return;
    bus::Writer(core_.scratch).put<uint64_t>(ours ? r.epoch : held.epoch).put<uint8_t>(ours).text(r.id);
    core_.peers->send(*home, bus::FrameType::cluster_registered, bus::kAckSoon, core_.scratch);
  });
}

void NodeDirectory::on_joined(const std::string& key) {
  key_ = key;
  joined_ = true;
}

void NodeDirectory::on_lost() {
  joined_ = false;
  registrations_.clear();
}

std::string NodeDirectory::claimed_from(std::string_view id) const {
  const auto it = claimed_.find(std::string(id));
  return it == claimed_.end() ? std::string() : it->second;
}

}  // namespace broker
