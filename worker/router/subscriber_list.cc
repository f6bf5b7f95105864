#include "worker/router/subscriber_list.h"

#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "shared/base/check.h"

namespace router {

static_assert(std::is_trivially_copyable_v<LocalSubscription>);

SubscriberList::~SubscriberList() {
  if (size_ > 1) std::free(heap());
}

LocalSubscription* SubscriberList::heap() const {
  LocalSubscription* data;
  std::memcpy(&data, place_.many.address, sizeof data);
  return data;
}

void SubscriberList::set_heap(LocalSubscription* data, uint32_t capacity) {
  place_.many = {};
  std::memcpy(place_.many.address, &data, sizeof data);
  place_.many.capacity = capacity;
}

void SubscriberList::reallocate(uint32_t capacity) {
  auto* data = static_cast<LocalSubscription*>(std::realloc(heap(), capacity * sizeof(LocalSubscription)));
  CHECK(data != nullptr);
  set_heap(data, capacity);
}

void SubscriberList::push_back(const LocalSubscription& subscription) {
  if (size_ == 0) {
    place_.one = subscription;
    size_ = 1;
    return;
  }
  if (size_ == 1) {
    const LocalSubscription first = place_.one;
    set_heap(nullptr, 0);
    reallocate(2);
    heap()[0] = first;
  } else if (size_ == place_.many.capacity) {
    reallocate(size_ + size_ / 2 + 1);
  }
  heap()[size_++] = subscription;
}

void SubscriberList::remove(uint32_t i) {
  CHECK(i < size_);
  (*this)[i] = (*this)[size_ - 1];
  if (size_ == 2) {
    LocalSubscription* data = heap();
    const LocalSubscription last = data[0];
    std::free(data);
    place_.one = last;
  } else if (size_ > 2 && size_ * 4 < place_.many.capacity) {
    reallocate(size_ * 2);
  }
  --size_;
}

}  // namespace router
