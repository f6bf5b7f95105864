#include "worker/session/directory.h"

#include <algorithm>
#include <vector>

namespace session {

void Directory::on_claim(const WorkerId& from, std::string_view id, uint64_t number) {
  const auto [it, fresh] = entries_.try_emplace(std::string(id));
  Entry& entry = it->second;
  const Claim claim{from, number};
  if (!entry.transferring) {
    start(entry, claim);
    return;
  }
  if (entry.waiting) {
    replies_.superseded(entry.waiting->from, entry.waiting->number);
  } else {
    replies_.superseded(entry.transferring->from, entry.transferring->number);
  }
  entry.waiting = claim;
}

void Directory::start(Entry& entry, const Claim& claim) {
  last_epoch_ = std::max({last_epoch_ + 1, entry.epoch + 1, clock_.wall_us()});
  entry.epoch = last_epoch_;
  entry.transferring = claim;
  replies_.grant(claim.from, claim.number, entry.epoch, entry.holder);
}

void Directory::on_held(const WorkerId& from, std::string_view id, uint64_t claim, Outcome outcome) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  if (!entry.transferring || entry.transferring->from != from || entry.transferring->number != claim) return;
  entry.transferring.reset();
  if (outcome == Outcome::kept) {
    entry.holder = from;
    entry.holder_epoch = entry.epoch;
  }
  if (outcome == Outcome::ended) entry.holder.reset();
  settle(it);
}

void Directory::on_release(const WorkerId& from, std::string_view id, uint64_t epoch) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  if (entry.holder != from || entry.holder_epoch != epoch) return;
  entry.holder.reset();
  if (!entry.transferring) settle(it);
}

void Directory::on_holding(const WorkerId& from, std::string_view id, uint64_t epoch, uint64_t claim) {
  Entry& entry = entries_[std::string(id)];
  last_epoch_ = std::max(last_epoch_, epoch);
  if (claim != 0) {
    entry.transferring = Claim{from, claim};
    entry.epoch = std::max(entry.epoch, epoch);
    return;
  }
  if (!entry.holder || entry.holder_epoch < epoch) {
    entry.holder = from;
    entry.holder_epoch = epoch;
  }
  entry.epoch = std::max(entry.epoch, epoch);
}

void Directory::on_worker_gone(const WorkerId& gone) {
  std::vector<std::string> affected;
  for (auto& [id, entry] : entries_) {
    bool touched = false;
    if (entry.holder == gone) {
      entry.holder.reset();
      touched = true;
    }
    if (entry.waiting && entry.waiting->from == gone) entry.waiting.reset();
    if (entry.transferring && entry.transferring->from == gone) {
      // Had it received the session already, the session died with it; otherwise the old holder still has it.
      entry.transferring.reset();
      touched = true;
    }
    if (touched && !entry.transferring) affected.push_back(id);
  }
  for (const std::string& id : affected) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
}

void Directory::settle(Entries::iterator it) {
  Entry& entry = it->second;
  if (entry.waiting) {
    const Claim next = *entry.waiting;
    entry.waiting.reset();
    start(entry, next);
  } else if (!entry.holder) {
    entries_.erase(it);
  }
}

}  // namespace session
