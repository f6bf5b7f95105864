#include "worker/session/directory.h"

#include <algorithm>
#include <vector>

namespace session {

void Directory::on_claim(const WorkerId& from, std::string_view id, uint64_t number) {
  const auto [it, fresh] = entries_.try_emplace(std::string(id));
  Entry& entry = it->second;
  const Claim claim{from, number};
  if (!entry.transferring && !entry.doubt) {
    start(entry, claim);
    return;
  }
  entry.waiting.push_back(claim);
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
  if (outcome != Outcome::not_pulled && entry.holder && *entry.holder != from) {
    replies_.stale(*entry.holder, id, entry.epoch);
  }
  if (outcome == Outcome::kept || outcome == Outcome::offline) {
    entry.holder = from;
    entry.holder_epoch = entry.epoch;
  }
  if (outcome == Outcome::ended) entry.holder.reset();
  if (outcome == Outcome::kept) {
    const std::vector<Claim> older(entry.waiting.begin(),
                                   entry.waiting.begin() + static_cast<std::ptrdiff_t>(entry.older));
    entry.waiting.erase(entry.waiting.begin(), entry.waiting.begin() + static_cast<std::ptrdiff_t>(entry.older));
    entry.older = 0;
    for (const Claim& c : older) replies_.superseded(c.from, c.number);
  }
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
  if (!entry.holder || entry.holder_epoch < epoch || entry.holder->slot == from.slot) {
    if (entry.holder && entry.holder->slot != from.slot) replies_.stale(*entry.holder, id, epoch);
    entry.holder = from;
    entry.holder_epoch = epoch;
  } else if (*entry.holder != from) {
    replies_.stale(from, id, entry.holder_epoch);
  }
  entry.epoch = std::max(entry.epoch, epoch);
}

void Directory::on_worker_gone(const WorkerId& gone) {
  std::vector<std::string> affected;
  for (auto& [id, entry] : entries_) {
    bool touched = false;
    for (size_t i = entry.waiting.size(); i-- > 0;) {
      if (entry.waiting[i].from != gone) continue;
      if (i < entry.older) --entry.older;
      entry.waiting.erase(entry.waiting.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (entry.transferring && entry.transferring->from == gone) {
      // Had it stored the session already, that is the one; otherwise the old holder still has it.
      entry.transferring.reset();
      entry.doubt = gone;
      touched = true;
    }
    if (touched && !entry.transferring) affected.push_back(id);
  }
  for (const std::string& id : affected) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
}

void Directory::on_worker_synced(const WorkerId& worker) {
  std::vector<std::string> affected;
  for (auto& [id, entry] : entries_) {
    const bool was_here = entry.holder && entry.holder->slot == worker.slot && *entry.holder != worker;
    const bool doubted = entry.doubt && entry.doubt->slot == worker.slot;
    if (was_here) entry.holder.reset();
    if (doubted) entry.doubt.reset();
    if ((was_here || doubted) && !entry.transferring) affected.push_back(id);
  }
  for (const std::string& id : affected) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
}

void Directory::settle(Entries::iterator it) {
  Entry& entry = it->second;
  if (entry.doubt) return;
  if (!entry.waiting.empty()) {
    const Claim next = entry.waiting.back();
    entry.waiting.pop_back();
    entry.older = entry.waiting.size();
    start(entry, next);
  } else if (!entry.holder) {
    entries_.erase(it);
  }
}

}  // namespace session
