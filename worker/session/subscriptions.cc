#include "worker/session/subscriptions.h"

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

}  // namespace session
