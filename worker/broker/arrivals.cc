#include "worker/broker/arrivals.h"

#include <algorithm>
#include <utility>

#include "worker/broker/journal.h"

namespace broker {

void Arrivals::keep(const WorkerId& from, const bus::Message& message, std::function<void()> take) {
  const uint64_t once = message.once().sequence;
  const uint64_t accepted = (once & kAccepted) != 0 ? once & ~kAccepted : 0;
  kept_[from.incarnation].push_back({accepted, message.footprint(), std::move(take)});
  bytes_ += message.footprint();
  if (bytes_ > core_.env.link_credit) take_all();
}

void Arrivals::keep_behind(const WorkerId& from, std::function<void()> take) {
  kept_.at(from.incarnation).push_back({0, 0, std::move(take)});
}

void Arrivals::take_first(Queues::iterator queue) {
  const Kept first = std::move(queue->second.front());
  queue->second.pop_front();
  bytes_ -= first.bytes;
  if (queue->second.empty()) kept_.erase(queue);
  first.take();
}

void Arrivals::take_of(const WorkerId& from) {
  for (auto it = kept_.find(from.incarnation); it != kept_.end(); it = kept_.find(from.incarnation)) take_first(it);
}

// The order of each sender stays.
void Arrivals::take_all() {
  keeping_ = false;
  while (!kept_.empty()) {
    take_first(std::ranges::min_element(kept_, {}, [](const auto& queue) { return queue.second.front().accepted; }));
  }
}

}  // namespace broker
