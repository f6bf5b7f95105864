#include "worker/session/directory.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace session {

void Directory::on_claim(const WorkerId& from, std::string_view id, uint64_t number, bool clean, uint64_t foreign) {
  const auto [it, fresh] = entries_.try_emplace(std::string(id));
  Entry& entry = it->second;
  const Claim claim{from, number, clean, foreign};
  if (foreign != 0) {
    const auto first = entry.foreign.begin() + (entry.serving ? 1 : 0);
    const auto later = std::find_if(first, entry.foreign.end(), [&](const Claim& c) { return c.foreign > foreign; });
    entry.foreign.insert(later, claim);
    serve(*it);
    return;
  }
  if (!entry.transferring && !entry.doubt) {
    start(*it, claim);
    return;
  }
  entry.waiting.push_back(claim);
}

void Directory::start(Entries::value_type& item, const Claim& claim) {
  Entry& entry = item.second;
  entry.transferring = claim;
  entry.asking = entry.asked = clustered_ && !(entry.holder && entry.registered && !entry.serving);
  if (entry.asking) {
    ask(item);
  } else {
    grant(entry);
  }
}

void Directory::ask(Entries::value_type& item) {
  Entry& entry = item.second;
  // Also what is on its way to another host: if that has it by now its epoch is higher.
  const uint64_t held = entry.holder ? entry.holder_epoch : entry.unheard;
  entry.answers = replies_.ask(item.first, std::max(entry.epoch, entry.past) + 1, held);
}

// By the clock, also while the cluster has given this host the id: what is accepted later, here or where the cluster
// cannot be asked, has the higher one.
void Directory::choose_epoch(Entry& entry) {
  entry.epoch = std::max({last_epoch_ + 1, std::max(entry.epoch, entry.past) + 1, clock_.wall_us()});
  last_epoch_ = entry.epoch;
}

void Directory::grant(Entry& entry) {
  choose_epoch(entry);
  grant_when_alone(entry);
}

void Directory::grant_unheard(Entries::value_type& item) {
  choose_epoch(item.second);
  item.second.noting = set_unheard(item, item.second.epoch);
  grant_when_alone(item.second);
}

bool Directory::set_unheard(Entries::value_type& item, uint64_t epoch) {
  if (item.second.unheard == epoch) return false;
  unheard_.erase({item.second.unheard, item.first});
  item.second.unheard = epoch;
  if (epoch != 0) unheard_.emplace(epoch, item.first);
  const bool answered = replies_.note_unheard(item.first, epoch);
  if (unheard_.size() > kUnheardKept) {
    const auto oldest = entries_.find(unheard_.begin()->second);
    set_unheard(*oldest, 0);
    if (!oldest->second.transferring) settle(oldest);
  }
  return answered;
}

void Directory::on_noted(std::string_view id, uint64_t epoch) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end() || !it->second.noting || it->second.epoch != epoch) return;
  it->second.noting = false;
  if (it->second.hanging_up.empty()) on_alone(it->first);
}

void Directory::restore_unheard(std::string_view id, uint64_t epoch) {
  Entry& entry = entries_.try_emplace(std::string(id)).first->second;
  entry.unheard = epoch;
  entry.epoch = std::max(entry.epoch, epoch);
  last_epoch_ = std::max(last_epoch_, epoch);
  unheard_.emplace(epoch, id);
}

void Directory::tell_ended(const std::string& id, const Entry& entry) {
  const bool unheard = entry.unheard != 0;
  replies_.settled(id, unheard ? entry.unheard : entry.epoch, unheard ? Outcome::unheard : Outcome::ended);
}

void Directory::tell_what_is_left(const std::string& id, const Entry& entry) {
  if (entry.holder) {
    replies_.settled(id, entry.holder_epoch, Outcome::offline);
  } else if (entry.unheard != 0) {
    replies_.settled(id, entry.unheard, Outcome::unheard);
  }
}

void Directory::grant_when_alone(Entry& entry) {
  entry.granting = entry.noting || !entry.hanging_up.empty();
  if (entry.granting) return;
  replies_.grant(entry.transferring->from, entry.transferring->number, entry.epoch,
                 entry.remote ? entry.remote : entry.holder);
}

// The holder gives the session to another host, if nothing that the cluster decided before has still to come here.
void Directory::serve(Entries::value_type& item) {
  Entry& entry = item.second;
  if (entry.serving || entry.foreign.empty() || entry.doubt || entry.asking || !entry.hanging_up.empty()) return;
  const Claim& claim = entry.foreign.front();
  const bool later = entry.transferring && entry.remote && claim.foreign < entry.epoch;
  if (entry.transferring && !later) return;
  entry.serving = true;
  // The cluster decided without knowing of it; it does before the claimant claims again.
  if (entry.holder && claim.foreign <= entry.holder_epoch && !entry.transferring) {
    replies_.settled(item.first, entry.holder_epoch, Outcome::offline);
  }
  entry.served = std::max(claim.foreign, entry.holder_epoch + 1);
  replies_.grant(claim.from, claim.number, entry.served, entry.holder);
}

bool Directory::on_foreign_held(Entries::iterator it, const WorkerId& from, uint64_t claim, Outcome outcome) {
  Entry& entry = it->second;
  // It may be about to be granted anew.
  const auto answered = std::find_if(entry.foreign.begin(), entry.foreign.end(),
                                     [&](const Claim& c) { return c.from == from && c.number == claim; });
  if (answered == entry.foreign.end()) return false;
  // Not `served`: the answer may be to an earlier grant of this claim, of what has come back here since.
  const uint64_t epoch = answered->foreign;
  if (answered == entry.foreign.begin()) entry.serving = false;
  entry.foreign.erase(answered);
  // (It may have gone on here with a higher one, while the cluster could not be asked.)
  if (outcome == Outcome::ended && entry.holder && entry.holder_epoch < epoch) {
    outdate_holder(*it, epoch);
    if (!entry.transferring) entry.epoch = std::max(entry.epoch, epoch);
  }
  // Given up: the claimant may have got it all the same, from a gateway of its host that has died since.
  if (outcome != Outcome::ended && entry.holder && !entry.transferring) {
    replies_.settled(it->first, entry.holder_epoch, Outcome::offline);
  }
  if (!entry.transferring) {
    settle(it);
  } else {
    serve(*it);
  }
  return true;
}

void Directory::on_answer(std::string_view id, Where where, uint64_t epoch, const WorkerId& gateway) {
  const std::string key(id);
  const auto it = entries_.find(key);
  if (where == Where::left) {
    // A transfer that goes on without that claim, since the cluster was not asked or could not be, does not settle it.
    const auto has_it = [epoch](const Entry& e) {
      return e.doubt || (e.transferring && (e.asking || e.epoch == epoch));
    };
    const bool open = it != entries_.end() && has_it(it->second);
    if (!open) replies_.settled(id, epoch, Outcome::not_pulled);
    return;
  }
  if (it == entries_.end() || !it->second.transferring || !it->second.asking) {
    // For somebody who has died: that claim is nobody's.
    if (where != Where::unknown) replies_.settled(id, epoch, Outcome::not_pulled);
    return;
  }
  Entry& entry = it->second;
  entry.asking = false;
  if (where == Where::unknown) {
    const Claim claim = *entry.transferring;
    // What is on its way to another host may have come there.
    const uint64_t unsure_until = std::max(unsure_until_, entry.unsure_until);
    const bool here = entry.holder && entry.holder_epoch > unsure_until && !entry.serving;
    if (here || claim.clean || accept_unknown_) {
      grant_unheard(*it);
      return;
    }
    entry.transferring.reset();
    replies_.refused(claim.from, claim.number);
    if (std::exchange(entry.untold, false)) tell_what_is_left(key, entry);
    settle(it);
    return;
  }
  entry.epoch = std::max(entry.epoch + 1, epoch);
  last_epoch_ = std::max(last_epoch_, entry.epoch);
  if (where == Where::elsewhere) entry.remote = gateway;
  // It may be held here as well. The claimant's own worker sees to that itself; and the session stays: it may be the
  // other host's that is on its way from here.
  if (entry.remote && entry.holder && *entry.holder != entry.transferring->from) {
    hang_up(*it, *entry.holder, entry.epoch);
  }
  grant_when_alone(entry);
  // A claimant of this worker may have been done with it at once.
  const auto after = entries_.find(key);
  if (after != entries_.end()) serve(*after);
}

void Directory::on_registered(std::string_view id, uint64_t epoch, bool ours) {
  const auto it = entries_.find(std::string(id));
  if (it != entries_.end() && it->second.unheard != 0 && it->second.unheard < epoch + (ours ? 1 : 0)) {
    set_unheard(*it, 0);
  }
  if (it == entries_.end() || !it->second.holder) {
    const bool open = it != entries_.end() && (it->second.transferring || it->second.doubt);
    if (ours && !open) replies_.settled(id, epoch, Outcome::ended);
    if (it != entries_.end() && !open) settle(it);
    return;
  }
  Entry& entry = it->second;
  if (ours) {
    entry.registered = epoch >= entry.holder_epoch;
    if (entry.registered) entry.unsure_until = 0;
    return;
  }
  if (entry.holder_epoch >= epoch) {
    // Two hosts went on from the same session. The cluster has heard of the other one's only: it is to decide.
    const bool untold = std::exchange(entry.registered, false);
    if (untold && !entry.transferring) replies_.settled(id, entry.holder_epoch, Outcome::offline);
    return;
  }
  if (entry.transferring && !entry.asking) {  // what is being moved now is told again when that is over
    entry.registered = false;
    return;
  }
  outdate_holder(*it, epoch);
  entry.epoch = std::max(entry.epoch, epoch);
  entry.serving = false;  // who was to get it from here is to look elsewhere: serve() grants it anew, as nowhere
  if (entry.transferring) {
    serve(*it);
  } else {
    settle(it);
  }
}

void Directory::register_all(const std::optional<WorkerId>& gateway) {
  for (auto& [id, entry] : entries_) {
    entry.registered = false;
    entry.untold = entry.asking && entry.holder;
    if (!entry.asking && entry.holder && !entry.transferring) {
      replies_.settled(id, entry.holder_epoch, Outcome::offline);
    }
  }
  for (const auto& [epoch, id] : unheard_) {
    const Entry& entry = entries_.at(id);
    if (!entry.holder && !entry.transferring && !entry.doubt) tell_what_is_left(id, entry);
  }
  ask_again(gateway);
}

void Directory::ask_again(const std::optional<WorkerId>& gateway) {
  std::vector<std::string> asking;
  for (const auto& [id, entry] : entries_) {
    if (entry.asking && (!entry.answers || entry.answers != gateway)) asking.push_back(id);
  }
  for (const std::string& id : asking) {
    const auto it = entries_.find(id);
    if (it != entries_.end() && it->second.asking) ask(*it);
  }
}

void Directory::on_cluster_lost(const std::optional<WorkerId>& gateway) {
  for (auto& [id, entry] : entries_) entry.registered = false;
  ask_again(gateway);
}

void Directory::on_held(const WorkerId& from, std::string_view id, uint64_t claim, Outcome outcome) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end() || on_foreign_held(it, from, claim, outcome)) return;
  Entry& entry = it->second;
  if (!entry.transferring || entry.transferring->from != from || entry.transferring->number != claim) return;
  entry.transferring.reset();
  // Whether the cluster has to hear of it: it does if it was asked, or if nobody holds it any more.
  const bool tell = clustered_ && (entry.asked || !entry.registered || outcome == Outcome::ended);
  entry.remote.reset();
  if (outcome != Outcome::not_pulled && entry.holder && *entry.holder != from) {
    tell_stale(*it, *entry.holder, entry.epoch);
  }
  if (outcome == Outcome::kept || outcome == Outcome::offline) {
    entry.holder = from;
    entry.holder_epoch = entry.epoch;
    entry.serving = false;  // from whom another host was to get it has it no more: settle() grants it anew
  }
  if (outcome == Outcome::ended) {
    entry.holder.reset();
    entry.past = std::max(entry.past, entry.epoch);
  }
  if (tell) {
    if (outcome == Outcome::ended) {
      tell_ended(it->first, entry);
    } else {
      replies_.settled(id, entry.epoch, outcome);
    }
    // A claim that came to nothing, of what another worker here holds, is still this host's.
    if (outcome == Outcome::not_pulled) tell_what_is_left(it->first, entry);
  }
  if (outcome == Outcome::ended) entry.registered = false;
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
  if (starting_) entries_.try_emplace(std::string(id));
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  if (entry.holder != from || entry.holder_epoch != epoch) {
    if (!starting_) return;
    entry.past = std::max(entry.past, epoch);
    last_epoch_ = std::max(last_epoch_, epoch);
    if (entry.holder && entry.holder_epoch < epoch) outdate_holder(*it, epoch);
    return;
  }
  entry.past = std::max(entry.past, epoch);
  entry.holder.reset();
  entry.registered = false;
  if (entry.transferring) return;
  if (clustered_) tell_ended(it->first, entry);
  settle(it);
}

void Directory::tell_stale(Entries::value_type& item, const WorkerId& who, uint64_t epoch) {
  item.second.past = std::max(item.second.past, epoch);
  item.second.forgetting.push_back(who);
  replies_.stale(who, item.first, epoch);
}

// (Whom it is told of may answer at once, and say that its session has ended with the connection.)
void Directory::outdate_holder(Entries::value_type& item, uint64_t epoch) {
  const WorkerId who = *std::exchange(item.second.holder, std::nullopt);
  item.second.registered = false;
  outdate(item, who, epoch);
}

void Directory::outdate(Entries::value_type& item, const WorkerId& who, uint64_t epoch) {
  hang_up(item, who, epoch);
  tell_stale(item, who, epoch);
}

void Directory::hang_up(Entries::value_type& item, const WorkerId& who, uint64_t epoch) {
  if (replies_.hang_up(who, item.first, epoch)) item.second.hanging_up.push_back(who);
}

void Directory::on_hung_up(const WorkerId& from, std::string_view id) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  const auto who = std::find(entry.hanging_up.begin(), entry.hanging_up.end(), from);
  if (who == entry.hanging_up.end()) return;
  entry.hanging_up.erase(who);
  if (entry.hanging_up.empty()) on_alone(std::string(id));
}

void Directory::on_alone(const std::string& id) {
  const auto granted = entries_.find(id);
  if (granted == entries_.end()) return;
  if (granted->second.granting) grant_when_alone(granted->second);
  // A claimant of this worker may have been done with it at once.
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  if (it->second.transferring) {
    serve(*it);
  } else {
    settle(it);
  }
}

void Directory::on_forgotten(const WorkerId& from, std::string_view id) {
  const auto it = entries_.find(std::string(id));
  if (it == entries_.end()) return;
  std::vector<WorkerId>& forgetting = it->second.forgetting;
  const auto who = std::find(forgetting.begin(), forgetting.end(), from);
  if (who == forgetting.end()) return;
  forgetting.erase(who);
  if (!it->second.transferring) settle(it);
}

void Directory::on_ready() {
  starting_ = false;
  std::vector<std::string> ids;
  for (const auto& [id, entry] : entries_) {
    if ((!entry.holder || entry.unheard != 0) && !entry.transferring) ids.push_back(id);
  }
  for (const std::string& id : ids) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
}

void Directory::on_holding(const WorkerId& from, std::string_view id, uint64_t epoch, uint64_t claim, bool foreign) {
  Entries::value_type& item = *entries_.try_emplace(std::string(id)).first;
  Entry& entry = item.second;
  last_epoch_ = std::max(last_epoch_, epoch);
  if (claim != 0 && foreign) {
    entry.foreign.push_back(Claim{from, claim, false, epoch});
    entry.serving = true;
    entry.served = epoch;
    return;
  }
  if (claim != 0) {
    entry.transferring = Claim{from, claim};
    entry.asked = true;  // for all we know
    entry.epoch = std::max(entry.epoch, epoch);
    return;
  }
  if (!entry.holder && epoch < entry.past) {
    outdate(item, from, entry.past);
  } else if (!entry.holder || entry.holder_epoch < epoch || entry.holder->slot == from.slot) {
    if (entry.holder && entry.holder->slot != from.slot) outdate_holder(item, epoch);
    entry.holder = from;
    entry.holder_epoch = epoch;
  } else if (*entry.holder != from) {
    outdate(item, from, entry.holder_epoch);
  }
  entry.epoch = std::max(entry.epoch, epoch);
}

void Directory::on_worker_gone(const WorkerId& gone) {
  std::vector<std::string> affected;
  std::vector<std::string> alone;
  for (auto& [id, entry] : entries_) {
    if (std::erase(entry.hanging_up, gone) != 0 && entry.hanging_up.empty()) alone.push_back(id);
    bool touched = false;
    for (size_t i = entry.waiting.size(); i-- > 0;) {
      if (entry.waiting[i].from != gone) continue;
      if (i < entry.older) --entry.older;
      entry.waiting.erase(entry.waiting.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (entry.transferring && entry.transferring->from == gone) {
      // Had it stored the session already, that is the one; otherwise the old holder still has it.
      entry.transferring.reset();
      entry.asking = entry.granting = entry.noting = false;
      entry.remote.reset();
      entry.registered = false;
      entry.doubt = gone;
      touched = true;
    }
    // The gateway: what it claimed for others is void, and its replacement is asked for it again.
    const bool served = entry.serving && entry.foreign.front().from == gone;
    if (std::erase_if(entry.foreign, [&](const Claim& c) { return c.from == gone; }) != 0) {
      if (served && entry.holder) entry.unsure_until = entry.holder_epoch, entry.registered = false;
      if (served) entry.serving = false;
      touched = true;
    }
    if (touched && !entry.transferring) affected.push_back(id);
  }
  for (const std::string& id : affected) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
  for (const std::string& id : alone) on_alone(id);
}

void Directory::on_worker_synced(const WorkerId& worker) {
  std::vector<std::string> affected;
  for (auto& [id, entry] : entries_) {
    const bool was_here = entry.holder && entry.holder->slot == worker.slot && *entry.holder != worker;
    const bool doubted = entry.doubt && entry.doubt->slot == worker.slot;
    if (was_here) {
      entry.holder.reset();
      entry.registered = false;
      if (clustered_ && !entry.transferring) tell_ended(id, entry);
    }
    if (doubted) {
      entry.doubt.reset();
      if (clustered_ && !entry.transferring) {
        replies_.settled(id, entry.epoch, Outcome::not_pulled);
        tell_what_is_left(id, entry);
      }
    }
    // What its predecessors were to forget it has told, if it is there.
    const bool forgot =
        std::erase_if(entry.forgetting, [&](const WorkerId& w) { return w.slot == worker.slot && w != worker; }) != 0;
    if ((was_here || doubted || forgot) && !entry.transferring) affected.push_back(id);
  }
  for (const std::string& id : affected) {
    const auto it = entries_.find(id);
    if (it != entries_.end()) settle(it);
  }
}

void Directory::settle(Entries::iterator it) {
  Entry& entry = it->second;
  if (entry.doubt) return;
  // Nothing came of that life.
  if (!starting_ && entry.holder && entry.holder_epoch < entry.unheard) {
    set_unheard(*it, entry.registered ? 0 : entry.holder_epoch);
  }
  serve(*it);
  if (!entry.waiting.empty()) {
    const Claim next = entry.waiting.back();
    entry.waiting.pop_back();
    entry.older = entry.waiting.size();
    start(*it, next);
  } else if (!entry.holder && entry.foreign.empty() && entry.forgetting.empty() && entry.hanging_up.empty() &&
             entry.unheard == 0 && !starting_) {
    entries_.erase(it);
  }
}

}  // namespace session
