// The local subscriptions at one node of the topic tree, in 16 bytes: a single one lies inside, several on the heap.
#pragma once

#include <cstdint>
#include <span>

#include "worker/router/topic_tree.h"

namespace router {

class SubscriberList {
 public:
  SubscriberList() = default;
  ~SubscriberList();
  SubscriberList(const SubscriberList&) = delete;
  SubscriberList& operator=(const SubscriberList&) = delete;

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  LocalSubscription* begin() { return size_ <= 1 ? &place_.one : heap(); }
  const LocalSubscription* begin() const { return const_cast<SubscriberList*>(this)->begin(); }
  const LocalSubscription* end() const { return begin() + size_; }
  LocalSubscription& operator[](uint32_t i) { return begin()[i]; }

  void push_back(const LocalSubscription& subscription);
  // The last one takes the place of the removed one.
  void remove(uint32_t i);
  size_t heap_bytes() const { return size_ <= 1 ? 0 : place_.many.capacity * sizeof(LocalSubscription) + 8; }

 private:
  struct Many {
    uint32_t address[2];
    uint32_t capacity;
  };
  LocalSubscription* heap() const;
  void set_heap(LocalSubscription* data, uint32_t capacity);
  void reallocate(uint32_t capacity);

  union Place {
    Place() : one() {}
    LocalSubscription one;
    Many many;  // when size_ > 1
  } place_;
  uint32_t size_ = 0;
};
static_assert(sizeof(SubscriberList) == 16);

}  // namespace router
