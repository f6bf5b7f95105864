#include "worker/session/subscriptions.h"

#include <utility>

namespace session {

size_t Subscriptions::index_of(router::NodeId node) const {
  if (index_) {
    const auto it = index_->find(node);
    return it == index_->end() ? all_.size() : it->second;
  }
  for (size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].node == node) return i;
  }
  return all_.size();
}

OwnSubscription* Subscriptions::find(router::NodeId node) {
  const size_t i = index_of(node);
  return i == all_.size() ? nullptr : &all_[i];
}

void Subscriptions::add(const OwnSubscription& subscription) {
  all_.push_back(subscription);
  if (index_) {
    (*index_)[subscription.node] = static_cast<uint32_t>(all_.size() - 1);
  } else if (all_.size() > kIndexFrom) {
    index_ = std::make_unique<std::unordered_map<router::NodeId, uint32_t>>();
    for (size_t i = 0; i < all_.size(); ++i) (*index_)[all_[i].node] = static_cast<uint32_t>(i);
  }
}

void Subscriptions::remove(router::NodeId node) {
  const size_t i = index_of(node);
  if (i == all_.size()) return;
  if (index_) {
    index_->erase(node);
    if (i + 1 != all_.size()) (*index_)[all_.back().node] = static_cast<uint32_t>(i);
  }
  all_[i] = all_.back();
  all_.pop_back();
}

// --- shared ---

namespace {

// A group's name has no '/'. [MQTT-4.8.2-1]
std::string share_key(std::string_view group, std::string_view filter) {
  std::string key(group);
  key += '/';
  key += filter;
  return key;
}

}  // namespace

OwnShare* Subscriptions::find_share(std::string_view group, std::string_view filter) {
  if (share_index_) {
    const auto it = share_index_->find(share_key(group, filter));
    return it == share_index_->end() ? nullptr : &shares_[it->second];
  }
  for (OwnShare& share : shares_) {
    if (share.group == group && share.filter == filter) return &share;
  }
  return nullptr;
}

void Subscriptions::add_share(OwnShare share) {
  shares_.push_back(std::move(share));
  if (share_index_) {
    (*share_index_)[share_key(shares_.back().group, shares_.back().filter)] = static_cast<uint32_t>(shares_.size() - 1);
  } else if (shares_.size() > kIndexFrom) {
    share_index_ = std::make_unique<std::unordered_map<std::string, uint32_t>>();
    for (size_t i = 0; i < shares_.size(); ++i) {
      (*share_index_)[share_key(shares_[i].group, shares_[i].filter)] = static_cast<uint32_t>(i);
    }
  }
}

bool Subscriptions::remove_share(std::string_view group, std::string_view filter) {
  OwnShare* share = find_share(group, filter);
  if (share == nullptr) return false;
  if (share_index_) {
    share_index_->erase(share_key(group, filter));
    if (share != &shares_.back()) {
      (*share_index_)[share_key(shares_.back().group, shares_.back().filter)] =
          static_cast<uint32_t>(share - shares_.data());
    }
  }
  if (share != &shares_.back()) *share = std::move(shares_.back());
  shares_.pop_back();
  return true;
}

std::vector<OwnShare> Subscriptions::take_shares() {
  share_index_.reset();
  return std::exchange(shares_, {});
}

}  // namespace session
