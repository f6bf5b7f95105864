#include "worker/broker/interest.h"

#include <utility>
#include <vector>

#include "shared/base/check.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/router/shared_group.h"

namespace broker {

Interest::Subscribed Interest::subscribe(session::Session& session, std::string_view filter,
                                         const router::SubscriptionOptions& options) {
  Subscribed result;
  const router::NodeId existing = core_.tree.find(filter);
  if (existing != router::kNoNode) {
    if (session::OwnSubscription* own = session.subscriptions.find(existing)) {
      own->options = options;
      core_.tree.update(existing, own->position, options);
      core_.records->write_subscription(session, filter, options);
      result.existed = true;
      result.announcement = pending_number(existing);
      return result;
    }
  }
  const router::TopicTree::Added added = core_.tree.add(filter, session.id(), options);
  session.subscriptions.add({added.node, added.position, options});
  core_.records->write_subscription(session, filter, options);
  core_.page.add(metrics::Gauge::subscriptions, 1);
  if (core_.slots == 1) return result;
  uint8_t& flags = flags_of(added.node);
  const bool newly_durable = session.durable() && (flags & kAnnouncedDurable) == 0;
  if (added.first_local || newly_durable) {
    if (session.durable()) flags |= kAnnouncedDurable;
    announce_route(added.node, (flags & kAnnouncedDurable) != 0, filter);
  }
  result.announcement = pending_number(added.node);
  return result;
}

Interest::Subscribed Interest::subscribe_shared(session::Session& session, std::string_view group_name,
                                                std::string_view filter, const router::SubscriptionOptions& options) {
  Subscribed result;
  router::SharedGroup& group = core_.tree.group(filter, group_name);
  if (session::OwnShare* share = session.subscriptions.find_share(group_name, filter)) {
    share->options = options;
    result.existed = true;
  }
  group.set_member(session.id(), options, session.connected());
  core_.records->write_share(session, {std::string(filter), std::string(group_name), options});
  if (!result.existed) {
    session.subscriptions.add_share({std::string(filter), std::string(group_name), options});
    core_.page.add(metrics::Gauge::subscriptions, 1);
    core_.page.add(metrics::Gauge::shared_subscriptions, 1);
    core_.shared->on_group_changed(group);
  }
  result.announcement = announce_group(group);
  return result;
}

bool Interest::unsubscribe(session::Session& session, std::string_view filter) {
  const router::NodeId node = core_.tree.find(filter);
  if (node == router::kNoNode) return false;
  const session::OwnSubscription* own = session.subscriptions.find(node);
  if (own == nullptr) return false;
  const uint32_t position = own->position;
  core_.records->erase_subscription(session, filter);
  session.subscriptions.remove(node);
  remove_at(session, node, position);
  return true;
}

void Interest::remove_at(session::Session& session, router::NodeId node, uint32_t position) {
  const router::TopicTree::Removed removed = withdraw_at(node, position);
  core_.page.add(metrics::Gauge::subscriptions, -1);
  if (removed.moved) {
    session::Session* moved = core_.sessions->by_id(removed.moved_subscriber);
    CHECK(moved != nullptr && moved != &session);
    session::OwnSubscription* own = moved->subscriptions.find(node);
    CHECK(own != nullptr && own->position == removed.moved_from);
    own->position = position;
  }
}

router::TopicTree::Removed Interest::withdraw_at(router::NodeId node, uint32_t position) {
  const std::string filter = core_.slots == 1 ? std::string() : core_.tree.filter_of(node);
  const router::TopicTree::Removed removed = core_.tree.remove(node, position);
  if (core_.slots == 1 || !removed.last_local) return removed;
  flags_of(node) = 0;
  unconfirmed_.erase(node);
  route_body(false, false, filter);
  core_.peers->for_each([&](Peer& peer) { core_.peers->send(peer, bus::FrameType::route, 0, core_.scratch); });
  return removed;
}

router::TopicTree::Added Interest::add_node(router::SubscriberId node, std::string_view filter) {
  router::SubscriptionOptions options;
  options.qos = proto::QoS::exactly_once;
  options.retain_as_published = true;
  const router::TopicTree::Added added = core_.tree.add(filter, node, options);
  if (added.first_local) {
    flags_of(added.node) |= kAnnouncedDurable;
    announce_route(added.node, true, filter);
  }
  return added;
}

router::TopicTree::Removed Interest::remove_node(router::NodeId at, uint32_t position) {
  return withdraw_at(at, position);
}

bool Interest::unsubscribe_shared(session::Session& session, std::string_view group_name, std::string_view filter) {
  if (!session.subscriptions.remove_share(group_name, filter)) return false;
  core_.records->erase_share(session, group_name, filter);
  router::SharedGroup* group = core_.tree.find_group(filter, group_name);
  CHECK(group != nullptr);
  leave(session, *group);
  core_.shared->on_member_left(session, filter, group_name);
  core_.shared->release(*group);
  return true;
}

void Interest::leave_groups(session::Session& session) {
  for (const session::OwnShare& share : session.subscriptions.take_shares()) {
    router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    CHECK(group != nullptr);
    leave(session, *group);
    core_.shared->release(*group);
  }
}

void Interest::leave(session::Session& session, router::SharedGroup& group) {
  group.remove_member(session.id());
  core_.page.add(metrics::Gauge::subscriptions, -1);
  core_.page.add(metrics::Gauge::shared_subscriptions, -1);
  announce_group(group);
}

void Interest::remove_all(session::Session& session) {
  core_.records->erase_subscriptions(session);
  leave_groups(session);
  core_.shared->on_member_ended(session);
  while (!session.subscriptions.all().empty()) {
    const session::OwnSubscription own = session.subscriptions.all().back();
    session.subscriptions.remove(own.node);
    remove_at(session, own.node, own.position);
  }
}

void Interest::announce_route(router::NodeId node, bool durable, std::string_view filter) {
  route_body(true, durable, filter);
  unconfirmed_[node] = broadcast(bus::FrameType::route);
}

void Interest::route_body(bool add, bool durable, std::string_view filter) {
  bus::Writer(core_.scratch).put<uint8_t>(add).put<uint8_t>(durable).text(filter);
}

void Interest::share_body(const router::SharedGroup& group) {
  share_body(group, group.live_members(), group.offline_members());
}

void Interest::share_body(const router::SharedGroup& group, uint32_t live, uint32_t offline) {
  bus::Writer(core_.scratch).put<uint32_t>(live).put<uint32_t>(offline).text(group.name()).text(group.filter());
}

uint64_t Interest::announce_group(const router::SharedGroup& group) {
  if (core_.slots == 1) return 0;
  share_body(group);
  return broadcast(bus::FrameType::share);
}

// Sends core_.scratch to every linked peer as a numbered announcement.
uint64_t Interest::broadcast(bus::FrameType type) {
  if (core_.peers->announced_everywhere(last_announcement_)) unconfirmed_.clear();
  const uint64_t number = core_.peers->next_announcement();
  last_announcement_ = number;
  core_.peers->for_each([&](Peer& peer) {
    core_.peers->send(peer, type, bus::kAckSoon, core_.scratch);
    core_.peers->note_announced(peer, number);
  });
  return number;
}

uint8_t& Interest::flags_of(router::NodeId node) {
  if (node >= node_flags_.size()) node_flags_.resize(node + 1u);
  return node_flags_[node];
}

uint64_t Interest::pending_number(router::NodeId node) {
  const auto it = unconfirmed_.find(node);
  if (it == unconfirmed_.end()) return 0;
  if (!core_.peers->announced_everywhere(it->second)) return it->second;
  unconfirmed_.erase(it);
  return 0;
}

void Interest::sync_to(Peer& peer) {
  core_.tree.for_each_local_filter([&](router::NodeId node) {
    route_body(true, (flags_of(node) & kAnnouncedDurable) != 0, core_.tree.filter_of(node));
    core_.peers->send(peer, bus::FrameType::route, 0, core_.scratch);
  });
  core_.tree.for_each_group([&](const router::SharedGroup& group) {
    if (group.members().empty()) return;
    share_body(group);
    core_.peers->send(peer, bus::FrameType::share, 0, core_.scratch);
  });
}

void Interest::restore(std::string_view name) {
  std::string_view group;
  std::string_view filter;
  if (core_.gateway_slot() == Core::kNoSlot || !FarInterest::read(name, group, filter)) return;
  if (group.empty()) {
    core_.tree.set_peer(filter, core_.gateway_slot(), true);
  } else {
    core_.tree.group(filter, group).set_remote(core_.gateway_slot(), 0, 1);
    kept_shares_[core_.gateway_slot()].emplace(filter, group);
  }
}

void Interest::on_loaded() {
  if (core_.gateway_slot() != Core::kNoSlot) core_.tree.keep_durable(core_.gateway_slot());
}

bool Interest::keeps(uint32_t slot) const {
  const auto shares = kept_shares_.find(slot);
  return !core_.tree.kept(slot).empty() || (shares != kept_shares_.end() && !shares->second.empty());
}

void Interest::tell_kept(Peer& gateway) {
  for (const router::NodeId node : core_.tree.kept(gateway.id.slot)) {
    route_body(true, true, core_.tree.filter_of(node));
    core_.peers->send(gateway, bus::FrameType::predecessor_route, 0, core_.scratch);
  }
  for (const auto& [filter, name] : kept_shares_[gateway.id.slot]) {
    const router::SharedGroup* group = core_.tree.find_group(filter, name);
    if (group == nullptr) continue;
    for (const router::SharedGroup::Remote& remote : group->remotes()) {
      if (remote.peer != gateway.id.slot) continue;
      share_body(*group, 0, remote.live + remote.offline);
      core_.peers->send(gateway, bus::FrameType::predecessor_share, 0, core_.scratch);
    }
  }
}

void Interest::tell_given_up(Peer& gateway, const session::Session& session) {
  for (const session::OwnSubscription& own : session.subscriptions.all()) {
    route_body(true, true, core_.tree.filter_of(own.node));
    core_.peers->send(gateway, bus::FrameType::predecessor_route, 0, core_.scratch);
  }
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    const router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    CHECK(group != nullptr);
    share_body(*group, 0, 1);
    core_.peers->send(gateway, bus::FrameType::predecessor_share, 0, core_.scratch);
  }
}

bool Interest::on_route(uint32_t from, std::string_view body) {
  bus::Reader reader(body);
  const bool add = reader.get<uint8_t>() != 0;
  const bool durable = reader.get<uint8_t>() != 0;
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty()) return false;
  const bool far = from == core_.gateway_slot();
  if (add) {
    if (core_.tree.set_peer(filter, from, durable) && far) far_.keep({}, filter);
  } else {
    core_.tree.clear_peer(filter, from);
    if (far) far_.forget({}, filter);
  }
  return true;
}

bool Interest::on_share(uint32_t from, std::string_view body) {
  bus::Reader reader(body);
  const auto live = reader.get<uint32_t>();
  const auto offline = reader.get<uint32_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  if (!reader.at_end() || filter.empty() || name.empty()) return false;
  if (const auto kept = kept_shares_.find(from); kept != kept_shares_.end()) {
    kept->second.erase({std::string(filter), std::string(name)});
  }
  if (live == 0 && offline == 0 && core_.tree.find_group(filter, name) == nullptr) return true;
  router::SharedGroup& group = core_.tree.group(filter, name);
  if (from == core_.gateway_slot()) {
    const bool some = live + offline != 0;
    if (some && !group.has_remote(from)) far_.keep(name, filter);
    if (!some) far_.forget(name, filter);
  }
  group.set_remote(from, live, offline);
  core_.shared->on_group_changed(group);
  core_.shared->release(group);
  return true;
}

void Interest::on_peer_gone(uint32_t slot) {
  std::vector<router::SharedGroup*> groups;
  core_.tree.for_each_group([&](router::SharedGroup& group) { groups.push_back(&group); });
  for (router::SharedGroup* group : groups) {
    for (const router::SharedGroup::Remote& remote : group->remotes()) {
      if (remote.peer != slot) continue;
      kept_shares_[slot].emplace(group->filter(), group->name());
      group->set_remote(slot, 0, remote.live + remote.offline);
      break;
    }
  }
}

void Interest::on_peer_synced(uint32_t slot) {
  if (slot == core_.gateway_slot()) {
    for (const router::NodeId node : core_.tree.kept(slot)) far_.forget({}, core_.tree.filter_of(node));
    for (const auto& [filter, name] : kept_shares_[slot]) far_.forget(name, filter);
  }
  core_.tree.drop_kept(slot);
  for (const auto& [filter, name] : std::exchange(kept_shares_[slot], {})) {
    router::SharedGroup* group = core_.tree.find_group(filter, name);
    if (group == nullptr) continue;
    group->remove_remote(slot);
    core_.shared->release(*group);
  }
}

}  // namespace broker
