// A session's subscriptions: where each stands in the topic tree. The filter's text lives in the tree alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/router/topic_tree.h"

namespace session {

struct OwnSubscription {
  router::NodeId node = router::kNoNode;
  uint32_t position = 0;  // in the node's list
  router::SubscriptionOptions options;
};

// Membership of a shared group.
struct OwnShare {
  std::string filter;
  std::string group;
  router::SubscriptionOptions options;
};

class Subscriptions {
 public:
  OwnSubscription* find(router::NodeId node);
  void add(const OwnSubscription& subscription);
  void remove(router::NodeId node);
  const std::vector<OwnSubscription>& all() const { return all_; }

  OwnShare* find_share(std::string_view group, std::string_view filter);
  void add_share(OwnShare share);
  // False: not there.
  bool remove_share(std::string_view group, std::string_view filter);
  std::vector<OwnShare> take_shares();
  const std::vector<OwnShare>& shares() const { return shares_; }

  size_t size() const { return all_.size() + shares_.size(); }

 private:
  // Past this many an index replaces the linear search.
  static constexpr size_t kIndexFrom = 32;
  size_t index_of(router::NodeId node) const;  // all_.size(): not there

  std::vector<OwnSubscription> all_;
  std::unique_ptr<std::unordered_map<router::NodeId, uint32_t>> index_;
  std::vector<OwnShare> shares_;
  std::unique_ptr<std::unordered_map<std::string, uint32_t>> share_index_;  // by share_key()
};

}  // namespace session
