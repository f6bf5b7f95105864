// Reads bytes as a program of operations on a TopicTree and runs it beside a naive model: a list of filters, matched
// one by one with proto::matches. Throws std::logic_error where they differ. Used by the unit test (random bytes) and
// the fuzz target (chosen bytes).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "proto/topic.h"
#include "worker/router/shared_group.h"
#include "worker/router/topic_tree.h"

namespace router::test {

class TopicTreeProgram {
 public:
  explicit TopicTreeProgram(std::string_view bytes) : bytes_(bytes) {}

  void run() {
    while (!bytes_.empty()) step();
    check_structure();
    leave_everything();
    expect(tree_.size() == 0, "nodes are left after removing everything");
  }

 private:
  struct Place {
    NodeId node = kNoNode;
    uint32_t position = 0;
    SubscriptionOptions options;
  };
  using Key = std::pair<std::string, SubscriberId>;
  using Seen = std::tuple<SubscriberId, uint8_t, bool, uint32_t>;

  static void expect(bool ok, const char* what) {
    if (!ok) throw std::logic_error(what);
  }

  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_.remove_prefix(1);
    return value;
  }
  std::string topic() { return path({"a", "b", "", "c", "$s", "a level of more than ten bytes", "d", "0123456789"}); }
  std::string filter() {
    std::string filter = path({"a", "b", "", "+", "$s", "a level of more than ten bytes", "+", "0123456789"});
    const uint8_t end = byte();
    if (end % 4 == 0) filter += "/#";
    if (end % 64 == 1) filter = "#";
    return filter.empty() ? "a" : filter;
  }
  std::string path(const std::vector<std::string>& words) {
    const size_t levels = 1 + byte() % 5;
    std::string path;
    for (size_t i = 0; i < levels; ++i) {
      if (i > 0) path += '/';
      path += words[byte() % words.size()];
    }
    return path.empty() ? "a" : path;
  }
  SubscriptionOptions options() {
    const uint8_t b = byte();
    return {.qos = static_cast<proto::QoS>(b % 3), .no_local = (b & 4) != 0, .identifier = b};
  }

  void step() {
    switch (byte() % 12) {
      case 0:
      case 1:
      case 2:
        return subscribe(filter(), byte() % 16);
      case 3:
        return unsubscribe(filter(), byte() % 16);
      case 4:
        return unsubscribe_any(byte());
      case 5:
        return set_peer(filter(), byte());
      case 6:
        return clear_peer(filter(), byte());
      case 7:
        return byte() % 8 == 0 ? remove_peer(byte()) : check_structure();
      case 8:
        return join(filter(), byte());
      case 9:
        return leave(byte());
      default:
        return match(topic());
    }
  }

  void subscribe(const std::string& filter, SubscriberId subscriber) {
    const uint64_t before = tree_.generation();
    const auto known = local_.find({filter, subscriber});
    if (known != local_.end()) {
      known->second.options = options();
      tree_.update(known->second.node, known->second.position, known->second.options);
    } else {
      const bool first = subscribers_at(filter) == 0;
      Place place{.options = options()};
      const TopicTree::Added added = tree_.add(filter, subscriber, place.options);
      expect(added.first_local == first, "first_local");
      expect(added.position == subscribers_at(filter), "position is not at the end");
      place.node = added.node;
      place.position = added.position;
      local_[{filter, subscriber}] = place;
    }
    expect(tree_.generation() != before, "generation after subscribe");
    expect(tree_.filter_of(tree_.find(filter)) == filter, "filter_of");
  }

  void unsubscribe(const std::string& filter, SubscriberId subscriber) {
    const auto known = local_.find({filter, subscriber});
    if (known == local_.end()) return;
    const Place place = known->second;
    local_.erase(known);
    const TopicTree::Removed removed = tree_.remove(place.node, place.position);
    expect(removed.last_local == (subscribers_at(filter) == 0), "last_local");
    expect(removed.moved == (place.position != subscribers_at(filter)), "moved");
    if (!removed.moved) return;
    Place& moved = local_.at({filter, removed.moved_subscriber});
    expect(moved.position == removed.moved_from, "moved_from");
    moved.position = place.position;
  }
  void unsubscribe_any(size_t n) {
    if (local_.empty()) return;
    const auto known = std::next(local_.begin(), static_cast<std::ptrdiff_t>(n % local_.size()));
    const auto [filter, subscriber] = known->first;
    unsubscribe(filter, subscriber);
  }
  uint32_t subscribers_at(const std::string& filter) const {
    const auto from = local_.lower_bound({filter, 0});
    const auto to = local_.upper_bound({filter, UINT32_MAX});
    return static_cast<uint32_t>(std::distance(from, to));
  }

  static uint32_t peer_of(uint8_t b) { return b % 5 == 0 ? 255u : b % 5; }
  void set_peer(const std::string& filter, uint8_t b) {
    tree_.set_peer(filter, peer_of(b), b >= 128);
    peers_[{filter, peer_of(b)}] = b >= 128;
  }
  void clear_peer(const std::string& filter, uint8_t b) {
    tree_.clear_peer(filter, peer_of(b));
    peers_.erase({filter, peer_of(b)});
  }
  void remove_peer(uint8_t b) {
    tree_.remove_peer(peer_of(b));
    std::erase_if(peers_, [&](const auto& p) { return p.first.second == peer_of(b); });
  }

  void join(const std::string& filter, uint8_t b) {
    const std::string name(1, static_cast<char>('g' + b % 3));
    SharedGroup& group = tree_.group(filter, name);
    expect(group.filter() == filter && group.name() == name, "group's names");
    expect(tree_.find_group(filter, name) == &group, "find_group");
    expect(tree_.filter_of(group.anchor.node) == filter, "group's node");
    if (b % 2 == 0) group.set_member(b, {}, true);
    groups_.insert({filter, name});
  }
  // Releases a group, or empties it so that the next time it can be released.
  void leave(size_t n) {
    if (groups_.empty()) return;
    const auto [filter, name] = *std::next(groups_.begin(), static_cast<std::ptrdiff_t>(n % groups_.size()));
    SharedGroup* group = tree_.find_group(filter, name);
    expect(group != nullptr, "group is there");
    const bool was_empty = group->empty();
    expect(tree_.release_group(*group) == was_empty, "release_group");
    if (was_empty) {
      groups_.erase({filter, name});
    } else {
      while (!group->members().empty()) group->remove_member(group->members().front().subscriber);
    }
  }

  void match(const std::string& topic) {
    result_.clear();
    tree_.match(topic, result_);
    std::vector<Seen> seen;
    for (const LocalSubscription& s : result_.local) seen.push_back(seen_of(s.subscriber, s.options));
    std::vector<Seen> wanted;
    for (const auto& [key, place] : local_) {
      if (proto::matches(key.first, topic)) wanted.push_back(seen_of(key.second, place.options));
    }
    std::sort(seen.begin(), seen.end());
    std::sort(wanted.begin(), wanted.end());
    expect(seen == wanted, "local subscribers");

    PeerSet peers;
    PeerSet durable;
    for (const auto& [key, is_durable] : peers_) {
      if (!proto::matches(key.first, topic)) continue;
      peers.insert(key.second);
      if (is_durable) durable.insert(key.second);
    }
    expect(result_.peers == peers && result_.durable_peers == durable, "peers");

    std::set<std::pair<std::string, std::string>> groups;
    for (const SharedGroup* g : result_.groups) expect(groups.insert({g->filter(), g->name()}).second, "group twice");
    std::set<std::pair<std::string, std::string>> wanted_groups;
    for (const auto& g : groups_) {
      if (proto::matches(g.first, topic)) wanted_groups.insert(g);
    }
    expect(groups == wanted_groups, "groups");
  }
  static Seen seen_of(SubscriberId subscriber, const SubscriptionOptions& o) {
    return {subscriber, static_cast<uint8_t>(o.qos), o.no_local, o.identifier};
  }

  // The tree has one node for each prefix of a filter in use, and lists exactly the filters that are.
  void check_structure() {
    std::set<std::string> prefixes;
    auto note = [&prefixes](const std::string& filter) {
      for (size_t at = filter.find('/'); at != std::string::npos; at = filter.find('/', at + 1)) {
        prefixes.insert(filter.substr(0, at));
      }
      prefixes.insert(filter);
    };
    std::set<std::string> local_filters;
    for (const auto& [key, place] : local_) {
      note(key.first);
      local_filters.insert(key.first);
      expect(tree_.find(key.first) == place.node, "find");
    }
    for (const auto& [key, durable] : peers_) note(key.first);
    for (const auto& [filter, name] : groups_) note(filter);
    expect(tree_.size() == prefixes.size(), "number of nodes");

    std::set<std::string> listed;
    tree_.for_each_local_filter([&](NodeId node) { listed.insert(tree_.filter_of(node)); });
    expect(listed == local_filters, "for_each_local_filter");
    size_t groups = 0;
    tree_.for_each_group([&](SharedGroup& g) { groups += groups_.count({g.filter(), g.name()}); });
    expect(groups == groups_.size(), "for_each_group");
  }

  void leave_everything() {
    while (!local_.empty()) unsubscribe_any(local_.size() / 2);
    for (uint8_t b = 0; b < 5; ++b) remove_peer(b);
    while (!groups_.empty()) leave(groups_.size() / 2);
  }

  std::string_view bytes_;
  TopicTree tree_;
  MatchResult result_;
  std::map<Key, Place> local_;
  std::map<std::pair<std::string, uint32_t>, bool> peers_;
  std::set<std::pair<std::string, std::string>> groups_;
};

}  // namespace router::test
