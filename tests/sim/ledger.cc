#include "tests/sim/ledger.h"

#include <algorithm>

#include "proto/topic.h"

namespace sim {

bool Subscription::shared() const {
  return proto::parse_shared_filter(filter).has_value();
}

bool Subscription::matches(std::string_view topic) const {
  const auto parsed = proto::parse_shared_filter(filter);
  return proto::matches(parsed ? parsed->filter : std::string_view(filter), topic);
}

bool Session::binds(std::string_view topic, Step step, bool shared) const {
  return std::any_of(subscriptions.begin(), subscriptions.end(),
                     [&](const Subscription& s) { return s.shared() == shared && s.binds(step) && s.matches(topic); });
}

bool Session::allows(std::string_view topic, Step step, bool shared) const {
  return std::any_of(subscriptions.begin(), subscriptions.end(),
                     [&](const Subscription& s) { return s.shared() == shared && s.allows(step) && s.matches(topic); });
}

}  // namespace sim
