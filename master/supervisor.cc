#include "master/supervisor.h"

#include <algorithm>
#include <csignal>

#include "shared/base/check.h"
#include "shared/control/boot.h"

namespace master {

bool is_fenced(ExitStatus status) {
  return status.signal == 0 && status.code == control::kExitFenced;
}

Supervisor::Supervisor(const Policy& policy, std::vector<SlotInfo> slots, const base::Clock& clock)
    : policy_(policy),
      clock_(clock),
      last_incarnation_us_(policy.host_tag ? policy.last_incarnation >> kHostTagBits : policy.last_incarnation) {
  for (const SlotInfo& info : slots) slots_.emplace_back().info = info;
}

Actions Supervisor::start() {
  Actions actions;
  last_tick_ = clock_.now_ms();
  for (uint32_t i = 0; i < slot_count(); ++i) spawn(i, actions);
  return actions;
}

// Microseconds since the epoch; in a cluster with the host's tag below them, which stays under 2^63 until the year
// 2255. They grow also over restarts of the master, and when the wall clock is set back.
uint64_t Supervisor::next_incarnation() {
  last_incarnation_us_ = std::max<uint64_t>(clock_.wall_us(), last_incarnation_us_ + 1);
  if (!policy_.host_tag) return last_incarnation_us_;
  return last_incarnation_us_ << kHostTagBits | *policy_.host_tag;
}

void Supervisor::spawn(uint32_t index, Actions& actions) {
  Slot& slot = slots_[index];
  slot.state = SlotState::starting;
  slot.incarnation = next_incarnation();
  slot.spawned_at = clock_.now_ms();
  slot.loading_at = 0;
  slot.killed = false;
  slot.channel_lost_at = 0;
  actions.emplace_back(Spawn{index, slot.incarnation});
}

Actions Supervisor::on_spawned(uint32_t index, pid_t pid) {
  Slot& slot = slots_[index];
  CHECK(slot.state == SlotState::starting && slot.pid == 0);
  slot.pid = pid;
  return {SendPeers{}};
}

Actions Supervisor::on_ready(uint32_t index, uint64_t incarnation) {
  Actions actions;
  Slot& slot = slots_[index];
  if (slot.state != SlotState::starting || slot.incarnation != incarnation) return actions;
  slot.state = SlotState::ready;
  slot.ready_at = clock_.now_ms();
  slot.was_ready = true;
  slot.failed_starts = 0;
  release(index, actions);
  const bool all_were = std::ranges::all_of(slots_, [](const Slot& s) { return s.was_ready; });
  if (!started_up_ && all_were) {
    started_up_ = true;
    actions.emplace_back(StartedUp{});
  }
  return actions;
}

Actions Supervisor::on_exit(uint32_t index, ExitStatus status) {
  Actions actions;
  Slot& slot = slots_[index];
  CHECK(slot.state != SlotState::down);
  if (slot.state == SlotState::ready || slot.down_since == 0) slot.down_since = clock_.now_ms();
  if (slot.state == SlotState::starting && !is_fenced(status)) ++slot.failed_starts;
  slot.state = SlotState::down;
  slot.pid = 0;
  ++slot.exits;
  actions.emplace_back(SendPeers{});
  for (uint32_t i = 0; i < slot_count(); ++i) {
    if (slots_[i].adopter == index) slots_[i].adopter.reset();  // found another one at the next tick
  }
  if (stopping_) {
    stop_gateway(actions);
    finish_if_all_gone(actions);
  } else if (gives_up(slot, status)) {
    actions.emplace_back(Report{true, index, "a worker cannot start, giving up"});
    exit_code_ = 1;
    for (Action& action : on_stop(false)) actions.push_back(std::move(action));
  } else {
    schedule_respawn(slot, status, actions);
    if (slot.respawn_at <= clock_.now_ms()) spawn(index, actions);
  }
  return actions;
}

bool Supervisor::gives_up(const Slot& slot, ExitStatus status) const {
  if (started_up_) return false;
  const bool fatal = status.signal == 0 && status.code == control::kExitFatal;
  return fatal || slot.failed_starts >= policy_.start_attempts;
}

void Supervisor::schedule_respawn(Slot& slot, ExitStatus status, Actions& actions) {
  const base::MonoMs now = clock_.now_ms();
  const bool short_life = now - slot.spawned_at < policy_.short_life_ms;
  if (is_fenced(status)) {  // no back-off; but hosts of one name fence each other for ever
    slot.respawn_at = now + (short_life ? policy_.backoff_first_ms : 0);
    return;
  }
  slot.short_lives = short_life ? slot.short_lives + 1 : 1;
  uint64_t delay = backoff_ms(slot.short_lives);
  const auto index = static_cast<uint32_t>(&slot - slots_.data());
  if (status.signal == 0 && status.code == control::kExitFatal) {
    delay = policy_.backoff_max_ms;
    actions.emplace_back(Report{true, index, "a worker says its configuration or environment is at fault"});
  } else if (delay > 0) {
    actions.emplace_back(Report{false, index, "a worker keeps dying, waiting before the next start"});
  }
  slot.respawn_at = now + delay;
}

// The first replacement is immediate; then 100, 200, 400 ms ... up to the maximum.
uint64_t Supervisor::backoff_ms(uint32_t short_lives) const {
  if (short_lives <= 1) return 0;
  const uint32_t doublings = std::min(short_lives - 2, 20U);
  return std::min(policy_.backoff_first_ms << doublings, policy_.backoff_max_ms);
}

void Supervisor::on_channel_lost(uint32_t index) {
  slots_[index].channel_lost_at = clock_.now_ms();
}

void Supervisor::kill(uint32_t index, const char* why, Actions& actions) {
  Slot& slot = slots_[index];
  if (slot.killed || slot.pid == 0) return;
  slot.killed = true;
  actions.emplace_back(Report{true, index, why});
  actions.emplace_back(Kill{index, slot.pid, SIGKILL});
}

Actions Supervisor::on_tick(std::span<const Heartbeat> heartbeats) {
  CHECK(heartbeats.size() == slots_.size());
  Actions actions;
  const base::MonoMs now = clock_.now_ms();
  // If this process was held up, the workers may have been as well (a frozen container): look at them afresh.
  if (now - last_tick_ > policy_.stall_timeout_ms / 2) judge_since_ = now;
  last_tick_ = now;
  for (uint32_t i = 0; i < slot_count(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.pid != 0) judge(i, heartbeats[i], actions);
    if (stopping_) continue;
    if (slot.state == SlotState::down && now >= slot.respawn_at) spawn(i, actions);
    adopt(i, actions);
  }
  return actions;
}

void Supervisor::judge(uint32_t index, const Heartbeat& heartbeat, Actions& actions) {
  Slot& slot = slots_[index];
  const base::MonoMs now = clock_.now_ms();
  const bool its_own = heartbeat.incarnation == slot.incarnation;
  if (its_own && heartbeat.loading) slot.loading_at = heartbeat.at_ms;
  if (slot.state == SlotState::stopping) {
    if (now >= slot.kill_at) kill(index, "a worker does not stop, killing it", actions);
  } else if (slot.channel_lost_at != 0 && now - slot.channel_lost_at > policy_.channel_grace_ms) {
    kill(index, "a worker lost its control channel, killing it", actions);
  } else if (slot.state == SlotState::starting) {
    const base::MonoMs since = std::max({slot.spawned_at, slot.loading_at, judge_since_});
    if (now > since && now - since > policy_.ready_timeout_ms) {
      kill(index, "a worker does not get ready, killing it", actions);
    }
  } else {
    base::MonoMs last = std::max(slot.ready_at, judge_since_);
    if (its_own) last = std::max(last, heartbeat.at_ms);
    if (now > last && now - last > policy_.stall_timeout_ms) {
      kill(index, "a worker is stuck, killing it", actions);
    }
  }
}

// Finds somebody who accepts for a slot that nobody serves. While starting up nobody does: the clients of a broker that
// is not up yet can wait in the queue, and the first worker would get them all.
void Supervisor::adopt(uint32_t index, Actions& actions) {
  Slot& slot = slots_[index];
  const bool served = slot.info.gateway || slot.state == SlotState::ready || slot.adopter.has_value();
  if (!started_up_ || served || clock_.now_ms() - slot.down_since <= policy_.adopt_after_ms) return;
  slot.adopter = find_adopter(index);
  if (slot.adopter) actions.emplace_back(SendAdopt{index, *slot.adopter});
}

// The ready worker that has adopted least, one of the slot's own group if there is any.
std::optional<uint32_t> Supervisor::find_adopter(uint32_t index) const {
  const SlotInfo& orphan = slots_[index].info;
  const auto adopted = [&](uint32_t by) {
    return std::ranges::count_if(slots_, [&](const Slot& s) { return s.adopter == by; });
  };
  std::optional<uint32_t> best;
  for (uint32_t i = 0; i < slot_count(); ++i) {
    if (slots_[i].state != SlotState::ready || slots_[i].killed || slots_[i].info.gateway) continue;
    const bool same_group = slots_[i].info.group == orphan.group;
    if (same_group && orphan.shared_socket) return std::nullopt;  // it accepts on that socket already
    const auto rank = [&](uint32_t by) { return std::pair(slots_[by].info.group != orphan.group, adopted(by)); };
    if (!best || rank(i) < rank(*best)) best = i;
  }
  return best;
}

void Supervisor::release(uint32_t index, Actions& actions) {
  Slot& slot = slots_[index];
  if (slot.adopter) actions.emplace_back(SendUnadopt{index, *slot.adopter});
  slot.adopter.reset();
  slot.down_since = 0;
}

Actions Supervisor::on_stop(bool graceful) {
  Actions actions;
  const bool again = stopping_;
  stopping_ = true;
  for (uint32_t i = 0; i < slot_count(); ++i) {
    Slot& slot = slots_[i];
    if (slot.pid == 0) {
      slot.state = SlotState::down;
    } else if (again) {
      kill(i, "asked to stop again, killing a worker", actions);
    } else if (!slot.info.gateway) {
      stop_slot(i, graceful, actions);
    }
  }
  stop_gateway(actions);
  finish_if_all_gone(actions);
  return actions;
}

void Supervisor::stop_slot(uint32_t index, bool graceful, Actions& actions) {
  Slot& slot = slots_[index];
  // One that is still starting may not read its channel yet, and has no client to say goodbye to.
  if (slot.state == SlotState::starting) {
    actions.emplace_back(Kill{index, slot.pid, SIGTERM});
  } else {
    actions.emplace_back(SendStop{index, graceful});
  }
  slot.state = SlotState::stopping;
  slot.kill_at = clock_.now_ms() + policy_.stop_timeout_ms + (graceful ? policy_.drain_timeout_ms : 0);
}

void Supervisor::stop_gateway(Actions& actions) {
  if (std::ranges::any_of(slots_, [](const Slot& s) { return !s.info.gateway && s.pid != 0; })) return;
  for (uint32_t i = 0; i < slot_count(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.info.gateway && slot.pid != 0 && slot.state != SlotState::stopping) stop_slot(i, false, actions);
  }
}

void Supervisor::finish_if_all_gone(Actions& actions) {
  if (exited_ || std::ranges::any_of(slots_, [](const Slot& s) { return s.pid != 0; })) return;
  exited_ = true;
  actions.emplace_back(Exit{exit_code_});
}

control::Peers Supervisor::peers() const {
  control::Peers peers;
  for (uint32_t i = 0; i < slot_count(); ++i) {
    if (slots_[i].pid != 0) peers.peers.push_back({i, slots_[i].incarnation});
  }
  return peers;
}

bool Supervisor::all_ready() const {
  return !stopping_ && std::ranges::all_of(slots_, [](const Slot& s) { return s.state == SlotState::ready; });
}

std::string_view name(SlotState state) {
  switch (state) {
    case SlotState::down:
      return "down";
    case SlotState::starting:
      return "starting";
    case SlotState::ready:
      return "ready";
    case SlotState::stopping:
      return "stopping";
  }
  return "";
}

}  // namespace master
