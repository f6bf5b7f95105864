#include "worker/broker/node_shares.h"

#include <vector>

#include "shared/bus/frames.h"
#include "worker/broker/interest.h"
#include "worker/broker/peers.h"

namespace broker {
namespace {
bool is_local(std::string_view filter) {
  return filter == "$SYS" || filter.starts_with("$SYS/");
}
}  // namespace

void NodeShares::share_body(std::string& out, const GroupKey& key, Count count) {
  bus::Writer(out).put<uint32_t>(count.live).put<uint32_t>(count.offline).text(key.second).text(key.first);
}

// --- this host's members ---

router::SharedGroup* NodeShares::workers_of(const GroupKey& key) const {
  return core_.tree.find_group(key.first, key.second);
}

NodeShares::Count NodeShares::members_here(const GroupKey& key) const {
  Count sum;
  const router::SharedGroup* group = workers_of(key);
  if (group == nullptr) return sum;
  for (const router::SharedGroup::Remote& worker : group->remotes()) {
    sum.live += worker.live;
    sum.offline += worker.offline;
  }
  return sum;
}

void NodeShares::tell_nodes(const GroupKey& key) {
  if (is_local(key.first)) return;
  const Count now = members_here(key);
  const auto told = told_.find(key);
  if (now == (told == told_.end() ? Count{} : told->second)) return;
  if (now == Count{}) {
    told_.erase(told);
  } else {
    told_[key] = now;
  }
  std::string body;
  share_body(body, key, now);
  announce_(NodeFrame::share, body);
}

bool NodeShares::on_worker_share(std::string_view body) {
  bus::Reader reader(body);
  reader.get<uint64_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  if (!reader.at_end()) return false;
  tell_nodes({std::string(filter), std::string(name)});
  return true;
}

void NodeShares::on_workers_changed() {
  std::set<GroupKey> keys;
  for (const auto& [key, count] : told_) keys.insert(key);
  core_.tree.for_each_group([&](const router::SharedGroup& group) { keys.emplace(group.filter(), group.name()); });
  for (const GroupKey& key : keys) tell_nodes(key);
}

void NodeShares::tell_all(NodeStream& stream) const {
  std::string body;
  for (const auto& [key, count] : told_) {
    share_body(body, key, count);
    stream.append(NodeFrame::share, body);
  }
}

// --- other nodes' members ---

void NodeShares::begin_sync(NodeMembers& node) const {
  for (const auto& [key, count] : node.groups) node.stale.insert(key);
}

void NodeShares::end_sync(uint32_t id, NodeMembers& node) {
  for (const GroupKey& key : std::exchange(node.stale, {})) {
    node.groups.erase(key);
    set(id, node, key, {});
  }
}

bool NodeShares::on_share(uint32_t id, NodeMembers& node, std::string_view body) {
  bus::Reader reader(body);
  Count count;
  count.live = reader.get<uint32_t>();
  count.offline = reader.get<uint32_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty() || name.empty()) return false;
  const GroupKey key(filter, name);
  node.stale.erase(key);
  if (count == Count{}) {
    node.groups.erase(key);
  } else {
    node.groups[key] = count;
  }
  set(id, node, key, count);
  return true;
}

void NodeShares::set_reached(uint32_t id, NodeMembers& node, bool reached) {
  if (node.reached == reached) return;
  node.reached = reached;
  for (const auto& [key, count] : node.groups) set(id, node, key, count);
}

void NodeShares::remove(uint32_t id, NodeMembers& node) {
  for (const auto& [key, count] : std::exchange(node.groups, {})) set(id, node, key, {});
  node.stale.clear();
}

void NodeShares::set(uint32_t id, const NodeMembers& node, const GroupKey& key, Count count) {
  if (id >= router::kMaxPeers) return;  // more hosts than that: those behind are not chosen
  Group& group = groups_.try_emplace(key, key).first->second;
  if (node.reached) {
    group.nodes.set_remote(id, count.live, count.offline);
  } else {
    group.nodes.set_remote(id, 0, count.live + count.offline);
  }
  Count now;
  for (const router::SharedGroup::Remote& remote : group.nodes.remotes()) {
    now.live += remote.live;
    now.offline += remote.offline;
  }
  const bool tell = now != group.told;
  group.told = now;
  if (now == Count{}) groups_.erase(key);
  if (!tell) return;
  share_body(core_.scratch, key, now);
  core_.interest->announce_far();
}

void NodeShares::sync_to(Peer& worker) {
  for (const auto& [key, group] : groups_) {
    share_body(core_.scratch, key, group.told);
    core_.peers->send(worker, bus::FrameType::share, 0, core_.scratch);
  }
}

router::SharedGroup* NodeShares::nodes_of(const GroupKey& key) {
  const auto it = groups_.find(key);
  return it == groups_.end() ? nullptr : &it->second.nodes;
}

}  // namespace broker
