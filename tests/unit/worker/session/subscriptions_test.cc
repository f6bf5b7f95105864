#include "worker/session/subscriptions.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <utility>

#include "shared/base/random.h"

namespace session {
namespace {

OwnSubscription at(router::NodeId node) {
  OwnSubscription subscription;
  subscription.node = node;
  subscription.position = node * 10;
  return subscription;
}

}  // namespace

TEST_CASE("subscriptions: what was added is found, what was removed is not") {
  Subscriptions subscriptions;
  subscriptions.add(at(1));
  subscriptions.add(at(2));
  subscriptions.remove(1);
  CHECK(subscriptions.find(1) == nullptr);
  REQUIRE(subscriptions.find(2) != nullptr);
  CHECK(subscriptions.find(2)->position == 20);
}

TEST_CASE("subscriptions: removing what is not there changes nothing") {
  Subscriptions subscriptions;
  subscriptions.add(at(1));
  subscriptions.remove(7);
  CHECK(subscriptions.size() == 1);
}

TEST_CASE("subscriptions: a found one can be changed in place") {
  Subscriptions subscriptions;
  subscriptions.add(at(1));
  subscriptions.find(1)->options.qos = proto::QoS::exactly_once;
  CHECK(subscriptions.all()[0].options.qos == proto::QoS::exactly_once);
}

TEST_CASE("subscriptions: shares count like the others") {
  Subscriptions subscriptions;
  subscriptions.add(at(1));
  subscriptions.add_share({"t", "g", {}});
  CHECK(subscriptions.size() == 2);
}

TEST_CASE("subscriptions: few or many, with an index or without, they are the same set") {
  for (const uint64_t nodes : {4u, 31u, 34u, 200u}) {
    base::Random random(nodes);
    Subscriptions subscriptions;
    std::set<router::NodeId> expected;
    for (int step = 0; step < 2000; ++step) {
      const auto node = static_cast<router::NodeId>(random.below(nodes));
      if (expected.insert(node).second) {
        subscriptions.add(at(node));
      } else if (random.one_in(2)) {
        subscriptions.remove(node);
        expected.erase(node);
      }
      const auto probe = static_cast<router::NodeId>(random.below(nodes));
      const OwnSubscription* found = subscriptions.find(probe);
      REQUIRE((found != nullptr) == expected.contains(probe));
      if (found != nullptr) REQUIRE(found->node == probe);
      REQUIRE(subscriptions.size() == expected.size());
    }
  }
}

TEST_CASE("subscriptions: few or many shares, with an index or without, they are the same set") {
  for (const uint64_t filters : {2u, 6u, 30u}) {
    base::Random random(filters);
    Subscriptions subscriptions;
    std::map<std::pair<std::string, std::string>, uint32_t> expected;
    for (uint32_t step = 0; step < 3000; ++step) {
      const std::pair share{"g" + std::to_string(random.below(6)), "t/" + std::to_string(random.below(filters))};
      const auto& [group, filter] = share;
      OwnShare* found = subscriptions.find_share(group, filter);
      REQUIRE((found != nullptr) == expected.contains(share));
      if (found == nullptr) {
        subscriptions.add_share({filter, group, {.identifier = step}});
        expected[share] = step;
      } else if (random.one_in(2)) {
        REQUIRE(found->options.identifier == expected[share]);
        REQUIRE(subscriptions.remove_share(group, filter));
        REQUIRE_FALSE(subscriptions.remove_share(group, filter));
        expected.erase(share);
      }
      REQUIRE(subscriptions.shares().size() == expected.size());
    }
    CHECK(subscriptions.take_shares().size() == expected.size());
    CHECK(subscriptions.find_share("g0", "t/0") == nullptr);
    CHECK(subscriptions.size() == 0);
  }
}

}  // namespace session
