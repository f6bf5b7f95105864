#include "worker/broker/node_routes.h"

#include <utility>

#include "shared/base/check.h"
#include "shared/bus/frames.h"
#include "worker/broker/interest.h"

namespace broker {
namespace {
// Every host's own: they mean something else elsewhere.
bool is_local(std::string_view filter) {
  return filter == "$SYS" || filter.starts_with("$SYS/");
}
}  // namespace

// --- what this host wants ---

bool NodeRoutes::on_worker_route(uint32_t slot, bool add, bool durable, std::string_view filter) {
  if (is_local(filter)) return false;
  const std::string key(filter);
  if (add) {
    const auto [it, fresh] = wants_.try_emplace(key);
    it->second.workers.insert(slot);
    it->second.kept.erase(slot);
    if (durable) {
      it->second.durable.insert(slot);
    } else {
      it->second.durable.erase(slot);
    }
    return fresh;
  }
  const auto it = wants_.find(key);
  if (it == wants_.end()) return false;
  it->second.workers.erase(slot);
  it->second.durable.erase(slot);
  it->second.kept.erase(slot);
  if (!it->second.workers.empty()) return false;
  wants_.erase(it);
  return true;
}

std::vector<std::string> NodeRoutes::drop(uint32_t slot, bool (*gone)(const Want&, uint32_t), bool keep) {
  std::vector<std::string> withdrawn;
  for (auto it = wants_.begin(); it != wants_.end();) {
    Want& want = it->second;
    if (want.workers.contains(slot) && gone(want, slot)) {
      want.workers.erase(slot);
      want.durable.erase(slot);
      want.kept.erase(slot);
    } else if (keep && want.workers.contains(slot)) {
      want.kept.insert(slot);
    }
    if (want.workers.empty()) {
      withdrawn.push_back(it->first);
      it = wants_.erase(it);
    } else {
      ++it;
    }
  }
  return withdrawn;
}

std::vector<std::string> NodeRoutes::on_worker_left(uint32_t slot) {
  return drop(
      slot, [](const Want& want, uint32_t s) { return !want.durable.contains(s); }, true);
}

std::vector<std::string> NodeRoutes::on_worker_synced(uint32_t slot) {
  return drop(
      slot, [](const Want& want, uint32_t s) { return want.kept.contains(s); }, false);
}

void NodeRoutes::route_body(std::string& out, bool wanted, std::string_view filter) {
  bus::Writer(out).put<uint8_t>(wanted).text(filter);
}

void NodeRoutes::tell_all(NodeStream& stream) const {
  std::string body;
  for (const auto& [filter, want] : wants_) {
    route_body(body, true, filter);
    stream.append(NodeFrame::route, body);
  }
}

// --- what other nodes want ---

void NodeRoutes::add(NodeInterest& node) {
  router::SubscriberId id = 0;
  while (id < nodes_.size() && nodes_[id] != nullptr) ++id;
  if (id == nodes_.size()) nodes_.emplace_back();
  nodes_[id] = &node;
  node.id = id;
}

void NodeRoutes::remove(NodeInterest& node) {
  while (!node.routes.empty()) remove_at(node, node.routes.begin()->first);
  node.stale.clear();
  nodes_[node.id] = nullptr;
}

void NodeRoutes::begin_sync(NodeInterest& node) {
  for (const auto& [at, position] : node.routes) node.stale.insert(at);
}

void NodeRoutes::end_sync(NodeInterest& node) {
  for (const router::NodeId at : std::exchange(node.stale, {})) remove_at(node, at);
}

bool NodeRoutes::on_route(NodeInterest& node, std::string_view body) {
  bus::Reader reader(body);
  const bool wanted = reader.get<uint8_t>() != 0;
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty()) return false;
  const router::NodeId at = core_.tree.find(filter);
  const bool known = at != router::kNoNode && node.routes.contains(at);
  if (known) node.stale.erase(at);
  if (wanted && !known) {
    const router::TopicTree::Added added = core_.interest->add_node(node.id, filter);
    node.routes[added.node] = added.position;
  } else if (!wanted && known) {
    remove_at(node, at);
  }
  return true;
}

void NodeRoutes::remove_at(NodeInterest& node, router::NodeId at) {
  const auto place = node.routes.find(at);
  CHECK(place != node.routes.end());
  const uint32_t position = place->second;
  node.routes.erase(place);
  const router::TopicTree::Removed removed = core_.interest->remove_node(at, position);
  if (!removed.moved) return;
  const auto moved = nodes_[removed.moved_subscriber]->routes.find(at);
  CHECK(moved->second == removed.moved_from);
  moved->second = position;
}

}  // namespace broker
