#include "worker/router/shared_group.h"

#include <algorithm>

namespace router {
namespace {

// The same on every worker, so not seeded.
uint64_t hash_of(std::string_view publisher) {
  uint64_t h = 0xCBF29CE484222325ULL;
  for (const char c : publisher) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93ULL;
  return h ^ (h >> 32);
}

// One hash chooses the worker by its high half and the member there by its low half: then a publisher comes to the same
// member whether its own worker or another one picks.
uint64_t worker_hash(std::string_view publisher) {
  return hash_of(publisher) >> 32;
}
uint64_t member_hash(std::string_view publisher) {
  return hash_of(publisher) & 0xFFFFFFFF;
}

uint32_t count_of(const SharedGroup::Remote& remote, bool live) {
  return live ? remote.live : remote.offline;
}

}  // namespace

// --- local members ---

SharedGroup::Member* SharedGroup::find(SubscriberId subscriber) {
  if (!index_.empty()) {
    const auto it = index_.find(subscriber);
    return it == index_.end() ? nullptr : &members_[it->second];
  }
  const auto it = std::find_if(members_.begin(), members_.end(),
                               [subscriber](const Member& m) { return m.subscriber == subscriber; });
  return it == members_.end() ? nullptr : &*it;
}

const SharedGroup::Member* SharedGroup::member(SubscriberId subscriber) const {
  return const_cast<SharedGroup*>(this)->find(subscriber);
}

void SharedGroup::note_live(SubscriberId subscriber, bool live) {
  const auto place = std::lower_bound(live_.begin(), live_.end(), subscriber);
  const bool there = place != live_.end() && *place == subscriber;
  if (live && !there) live_.insert(place, subscriber);
  if (!live && there) live_.erase(place);
}

void SharedGroup::set_member(SubscriberId subscriber, const SubscriptionOptions& options, bool live) {
  Member* m = find(subscriber);
  if (m == nullptr) {
    m = &members_.emplace_back(Member{.subscriber = subscriber, .options = {}});
    if (!index_.empty()) {
      index_[subscriber] = static_cast<uint32_t>(members_.size() - 1);
    } else if (members_.size() > kIndexFrom) {
      for (uint32_t i = 0; i < members_.size(); ++i) index_[members_[i].subscriber] = i;
    }
  }
  m->options = options;
  m->live = live;
  note_live(subscriber, live);
}

void SharedGroup::set_live(SubscriberId subscriber, bool live) {
  Member* m = find(subscriber);
  if (m == nullptr) return;
  m->live = live;
  note_live(subscriber, live);
}

bool SharedGroup::remove_member(SubscriberId subscriber) {
  Member* m = find(subscriber);
  if (m == nullptr) return false;
  note_live(subscriber, false);
  if (!index_.empty()) {
    index_[members_.back().subscriber] = static_cast<uint32_t>(m - members_.data());
    index_.erase(subscriber);
  }
  *m = members_.back();
  members_.pop_back();
  return true;
}

// --- other workers ---

std::vector<SharedGroup::Remote>::iterator SharedGroup::remote_place_of(uint32_t peer) {
  return std::lower_bound(remotes_.begin(), remotes_.end(), peer,
                          [](const Remote& r, uint32_t p) { return r.peer < p; });
}

bool SharedGroup::has_remote(uint32_t peer) const {
  return std::ranges::any_of(remotes_, [peer](const Remote& remote) { return remote.peer == peer; });
}

void SharedGroup::set_remote(uint32_t peer, uint32_t live, uint32_t offline) {
  auto place = remote_place_of(peer);
  const bool there = place != remotes_.end() && place->peer == peer;
  if (live == 0 && offline == 0) {
    if (there) remotes_.erase(place);
    return;
  }
  if (!there) place = remotes_.insert(place, Remote{.peer = peer});
  place->live = live;
  place->offline = offline;
}

void SharedGroup::add_remote_inflight(uint32_t peer, int32_t delta) {
  const auto place = remote_place_of(peer);
  if (place == remotes_.end() || place->peer != peer) return;
  const int64_t inflight = int64_t{place->inflight} + delta;
  place->inflight = static_cast<uint32_t>(std::clamp<int64_t>(inflight, 0, UINT32_MAX));
}

bool SharedGroup::live_anywhere() const {
  return !live_.empty() || std::any_of(remotes_.begin(), remotes_.end(), [](const Remote& r) { return r.live > 0; });
}

// --- picking ---

uint64_t SharedGroup::weight(Pool pool, const PeerSet& refused, bool local_allowed) const {
  uint64_t sum = local_allowed ? local_count(pool) : 0;
  for (const Remote& r : remotes_) {
    if (!refused.contains(r.peer)) sum += count_of(r, pool == Pool::live);
  }
  return sum;
}

bool SharedGroup::keeps(const Choice& choice, Pool pool, const PeerSet& refused, bool local_allowed) const {
  if (choice.is_local) {
    const Member* m = member(choice.subscriber);
    return local_allowed && m != nullptr && m->live == (pool == Pool::live);
  }
  return !refused.contains(choice.peer) && std::any_of(remotes_.begin(), remotes_.end(), [&](const Remote& r) {
    return r.peer == choice.peer && count_of(r, pool == Pool::live) > 0;
  });
}

// Counts through the workers in the order of their numbers, each as long as it has members. The subscriber is left
// open. REQUIRES: n < weight(...).
SharedGroup::Choice SharedGroup::nth(uint64_t n, Pool pool, const PeerSet& refused, bool local_allowed,
                                     uint32_t self_peer) const {
  const uint64_t local = local_allowed ? local_count(pool) : 0;
  bool local_passed = false;
  for (const Remote& r : remotes_) {
    if (!local_passed && r.peer > self_peer) {
      if (n < local) return {.is_local = true};
      n -= local;
      local_passed = true;
    }
    const uint64_t count = refused.contains(r.peer) ? 0 : count_of(r, pool == Pool::live);
    if (n < count) return {.peer = r.peer};
    n -= count;
  }
  return {.is_local = true};
}

// Among equals in turn.
SharedGroup::Idle SharedGroup::least_inflight_local(const InflightOf& inflight_of) {
  const uint64_t start = local_turn_++;
  Idle best{.subscriber = 0, .inflight = UINT32_MAX};
  for (size_t i = 0; i < std::min(live_.size(), kCandidates); ++i) {
    const SubscriberId subscriber = live_[(start + i) % live_.size()];
    const uint32_t inflight = inflight_of(subscriber);
    if (i == 0 || inflight < best.inflight) best = {subscriber, inflight};
  }
  return best;
}

// A peer counts with its in-flight messages per live member. Among equals in turn, this worker being one of them.
SharedGroup::Choice SharedGroup::least_inflight(const PeerSet& refused, bool local_allowed,
                                                const InflightOf& inflight_of) {
  Choice best;
  uint64_t best_inflight = 0;
  uint64_t best_live = 0;  // 0: none yet
  auto consider = [&](const Choice& choice, uint64_t inflight, uint64_t live) {
    if (best_live != 0 && inflight * best_live >= best_inflight * live) return;
    best = choice;
    best_inflight = inflight;
    best_live = live;
  };
  const size_t workers = remotes_.size() + 1;
  const uint64_t start = turn_++;
  for (size_t i = 0; i < workers; ++i) {
    const size_t w = (start + i) % workers;
    if (w < remotes_.size()) {
      const Remote& r = remotes_[w];
      if (r.live > 0 && !refused.contains(r.peer)) consider({.peer = r.peer}, r.inflight, r.live);
    } else if (local_allowed && !live_.empty()) {
      const Idle idle = least_inflight_local(inflight_of);
      consider({.is_local = true, .subscriber = idle.subscriber}, idle.inflight, 1);
    }
  }
  return best;
}

SubscriberId SharedGroup::pick_from(Pool pool, SharedStrategy strategy, std::string_view publisher,
                                    base::Random& random, const InflightOf& inflight_of) {
  // Offline members are only asked for when there are no live ones: then they are all members.
  const size_t count = pool == Pool::live ? live_.size() : members_.size();
  auto at = [&](uint64_t i) { return pool == Pool::live ? live_[i] : members_[i].subscriber; };
  switch (strategy) {
    case SharedStrategy::random:
      return at(random.below(count));
    case SharedStrategy::hash_client_id:
      return at(member_hash(publisher) % count);
    case SharedStrategy::least_inflight:
      if (pool == Pool::live) return least_inflight_local(inflight_of).subscriber;
      break;
    case SharedStrategy::sticky: {
      const Member* kept = local_sticky_ ? member(*local_sticky_) : nullptr;
      if (kept == nullptr || kept->live != (pool == Pool::live)) local_sticky_ = at(random.below(count));
      return *local_sticky_;
    }
    case SharedStrategy::round_robin:
    case SharedStrategy::local:
      break;
  }
  return at(local_turn_++ % count);
}

std::optional<SubscriberId> SharedGroup::pick_local(SharedStrategy strategy, std::string_view publisher,
                                                    bool offline_too, base::Random& random,
                                                    const InflightOf& inflight_of) {
  if (!live_.empty()) return pick_from(Pool::live, strategy, publisher, random, inflight_of);
  if (!offline_too || members_.empty()) return std::nullopt;
  return pick_from(Pool::offline, strategy, publisher, random, inflight_of);
}

std::optional<SharedGroup::Choice> SharedGroup::pick(SharedStrategy strategy, std::string_view publisher,
                                                     const PeerSet& refused, bool local_allowed, uint32_t self_peer,
                                                     base::Random& random, const InflightOf& inflight_of) {
  Pool pool = Pool::live;
  uint64_t sum = weight(pool, refused, local_allowed);
  if (sum == 0) {
    pool = Pool::offline;
    sum = weight(pool, refused, local_allowed);
  }
  if (sum == 0) return std::nullopt;

  Choice choice;
  switch (strategy) {
    case SharedStrategy::round_robin:
      choice = nth(turn_++ % sum, pool, refused, local_allowed, self_peer);
      break;
    case SharedStrategy::random:
      choice = nth(random.below(sum), pool, refused, local_allowed, self_peer);
      break;
    case SharedStrategy::sticky:
      if (sticky_ && keeps(*sticky_, pool, refused, local_allowed)) return sticky_;
      choice = nth(random.below(sum), pool, refused, local_allowed, self_peer);
      break;
    case SharedStrategy::hash_client_id:
      choice = nth(worker_hash(publisher) % sum, pool, refused, local_allowed, self_peer);
      break;
    case SharedStrategy::local:
      choice.is_local = local_allowed && local_count(pool) > 0;
      if (!choice.is_local) choice = nth(turn_++ % sum, pool, refused, local_allowed, self_peer);
      break;
    case SharedStrategy::least_inflight:
      if (pool == Pool::live) return least_inflight(refused, local_allowed, inflight_of);
      choice = nth(turn_++ % sum, pool, refused, local_allowed, self_peer);
      break;
  }
  if (choice.is_local) choice.subscriber = pick_from(pool, strategy, publisher, random, inflight_of);
  if (strategy == SharedStrategy::sticky) sticky_ = choice;
  return choice;
}

}  // namespace router
