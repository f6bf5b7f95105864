#include "worker/router/shared_group.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

namespace router {
namespace {

constexpr SharedStrategy kAll[] = {SharedStrategy::round_robin, SharedStrategy::random,
                                   SharedStrategy::sticky,      SharedStrategy::hash_client_id,
                                   SharedStrategy::local,       SharedStrategy::least_inflight};

// A group on worker 1, and a tally of its choices: "7" is local member 7, "p2" is peer 2, "-" is nobody.
struct Fixture {
  SharedGroup group{"a/+", "g"};
  base::Random random{1};
  PeerSet refused;
  bool local_allowed = true;
  std::map<SubscriberId, uint32_t> inflight;
  const SharedGroup::InflightOf inflight_of = [this](SubscriberId s) { return inflight[s]; };

  std::string pick(SharedStrategy strategy, std::string_view publisher = "pub") {
    const auto choice = group.pick(strategy, publisher, refused, local_allowed, 1, random, inflight_of);
    if (!choice) return "-";
    return choice->is_local ? std::to_string(choice->subscriber) : "p" + std::to_string(choice->peer);
  }
  std::map<std::string, int> tally(SharedStrategy strategy, int n, bool many_publishers = false) {
    std::map<std::string, int> counts;
    for (int i = 0; i < n; ++i) ++counts[pick(strategy, many_publishers ? "pub" + std::to_string(i) : "pub")];
    return counts;
  }
  void live(std::initializer_list<SubscriberId> subscribers) {
    for (const SubscriberId s : subscribers) group.set_member(s, {}, true);
  }
};
using Tally = std::map<std::string, int>;

}  // namespace

TEST_CASE("shared_group: members come, change and go") {
  Fixture f;
  CHECK(f.group.empty());
  f.group.set_member(5, {.qos = proto::QoS::at_least_once}, true);
  f.group.set_member(2, {}, false);
  f.group.set_member(5, {.qos = proto::QoS::exactly_once}, true);
  CHECK(f.group.members().size() == 2);
  CHECK(f.group.live_members() == 1);
  CHECK(f.group.offline_members() == 1);
  REQUIRE(f.group.member(5) != nullptr);
  CHECK(f.group.member(5)->options.qos == proto::QoS::exactly_once);
  f.group.set_live(5, false);
  f.group.set_live(9, true);
  CHECK_FALSE(f.group.live_anywhere());
  CHECK(f.group.remove_member(5));
  CHECK_FALSE(f.group.remove_member(5));
  CHECK(f.group.remove_member(2));
  CHECK(f.group.empty());
}

TEST_CASE("shared_group: remotes come, change and go") {
  Fixture f;
  f.group.set_remote(3, 0, 2);
  CHECK_FALSE(f.group.live_anywhere());
  f.group.add_remote_inflight(3, 5);
  f.group.set_remote(3, 1, 0);
  CHECK(f.group.live_anywhere());
  f.group.add_remote_inflight(3, -9);
  f.group.add_remote_inflight(4, 1);
  REQUIRE(f.group.remotes().size() == 1);
  CHECK(f.group.remotes()[0].inflight == 0);
  f.group.remove_remote(3);
  f.group.remove_remote(3);
  CHECK(f.group.empty());
}

TEST_CASE("shared_group: nobody is picked from an empty group") {
  for (const SharedStrategy strategy : kAll) {
    Fixture f;
    CHECK(f.pick(strategy) == "-");
    CHECK_FALSE(f.group.pick_local(strategy, "pub", true, f.random, f.inflight_of));
  }
}

TEST_CASE("shared_group: live members go before offline ones, wherever they are") {
  for (const SharedStrategy strategy : kAll) {
    CAPTURE(static_cast<int>(strategy));
    Fixture f;
    f.group.set_member(1, {}, false);
    f.group.set_remote(2, 0, 5);
    f.group.set_remote(3, 1, 5);
    CHECK(f.tally(strategy, 20, true) == Tally{{"p3", 20}});
    f.group.set_member(4, {}, true);
    f.group.remove_remote(3);
    CHECK(f.tally(strategy, 20, true) == Tally{{"4", 20}});
    f.group.set_live(4, false);
    for (const auto& [who, n] : f.tally(strategy, 20, true)) CHECK(std::set<std::string>{"1", "4", "p2"}.contains(who));
  }
}

TEST_CASE("shared_group: refused peers and a forbidden self are left out") {
  for (const SharedStrategy strategy : kAll) {
    CAPTURE(static_cast<int>(strategy));
    Fixture f;
    f.live({7});
    f.group.set_remote(2, 3, 0);
    f.group.set_remote(3, 3, 0);
    f.refused.insert(2);
    f.local_allowed = false;
    CHECK(f.tally(strategy, 20, true) == Tally{{"p3", 20}});
    f.refused.insert(3);
    CHECK(f.pick(strategy) == "-");
    f.local_allowed = true;
    CHECK(f.tally(strategy, 20, true) == Tally{{"7", 20}});
  }
}

TEST_CASE("shared_group: round-robin takes turns and weighs peers by their members") {
  Fixture f;
  f.live({1, 2, 3});
  CHECK(f.tally(SharedStrategy::round_robin, 30) == Tally{{"1", 10}, {"2", 10}, {"3", 10}});
  f.group.set_remote(0, 2, 7);
  f.group.set_remote(2, 1, 0);
  CHECK(f.tally(SharedStrategy::round_robin, 60) == Tally{{"1", 10}, {"2", 10}, {"3", 10}, {"p0", 20}, {"p2", 10}});
}

TEST_CASE("shared_group: random is fair and weighs peers by their members") {
  Fixture f;
  f.live({1, 2});
  f.group.set_remote(9, 2, 0);
  const Tally counts = f.tally(SharedStrategy::random, 4000);
  CHECK(counts.at("1") == doctest::Approx(1000).epsilon(0.15));
  CHECK(counts.at("2") == doctest::Approx(1000).epsilon(0.15));
  CHECK(counts.at("p9") == doctest::Approx(2000).epsilon(0.15));
}

TEST_CASE("shared_group: sticky stays until its choice has no live member") {
  Fixture f;
  f.live({1, 2, 3});
  f.group.set_remote(2, 4, 0);
  for (int round = 0; round < 10; ++round) {
    const std::string chosen = f.pick(SharedStrategy::sticky);
    CHECK(f.tally(SharedStrategy::sticky, 10, true) == Tally{{chosen, 10}});
    if (chosen[0] == 'p') {
      f.group.set_remote(2, 0, 4);
    } else {
      f.group.set_live(static_cast<SubscriberId>(std::stoul(chosen)), false);
      f.live({static_cast<SubscriberId>(10 + round)});
    }
    CHECK(f.pick(SharedStrategy::sticky) != chosen);
    f.group.set_remote(2, 4, 0);
  }
}

TEST_CASE("shared_group: a publisher's hash keeps its member, and publishers spread over all") {
  Fixture f;
  f.live({1, 2, 3, 4});
  f.group.set_remote(0, 2, 0);
  f.group.set_remote(3, 2, 0);
  const Tally counts = f.tally(SharedStrategy::hash_client_id, 8000, true);
  for (const char* who : {"1", "2", "3", "4"}) CHECK(counts.at(who) == doctest::Approx(1000).epsilon(0.2));
  for (const char* who : {"p0", "p3"}) CHECK(counts.at(who) == doctest::Approx(2000).epsilon(0.2));
  CHECK(f.tally(SharedStrategy::hash_client_id, 50).size() == 1);
}

TEST_CASE("shared_group: a publisher's hash leads to the same member whichever worker picks") {
  for (int i = 0; i < 200; ++i) {
    const std::string publisher = "pub" + std::to_string(i);
    SharedGroup here("a", "g");  // worker 1 with members 10, 20, 30; worker 4 has two
    for (const SubscriberId s : {30u, 10u, 20u}) here.set_member(s, {}, true);
    here.set_remote(4, 2, 0);
    SharedGroup there("a", "g");  // the same group seen by worker 4
    for (const SubscriberId s : {1u, 2u}) there.set_member(s, {}, true);
    there.set_remote(1, 3, 0);
    base::Random random(1);
    const auto a = here.pick(SharedStrategy::hash_client_id, publisher, {}, true, 1, random, {});
    const auto b = there.pick(SharedStrategy::hash_client_id, publisher, {}, true, 4, random, {});
    REQUIRE(a->is_local != b->is_local);
    SharedGroup& owner = a->is_local ? here : there;
    CHECK((a->is_local ? a : b)->subscriber ==
          owner.pick_local(SharedStrategy::hash_client_id, publisher, false, random, {}));
  }
}

TEST_CASE("shared_group: local prefers this worker's live members, in turn") {
  Fixture f;
  f.live({1, 2});
  f.group.set_remote(2, 50, 0);
  CHECK(f.tally(SharedStrategy::local, 20) == Tally{{"1", 10}, {"2", 10}});
  f.group.set_live(1, false);
  f.group.set_live(2, false);
  f.group.set_remote(3, 50, 0);
  CHECK(f.tally(SharedStrategy::local, 100) == Tally{{"p2", 50}, {"p3", 50}});
}

TEST_CASE("shared_group: least in flight compares members with peers per live member") {
  Fixture f;
  f.live({1, 2});
  f.group.set_remote(3, 4, 0);
  f.inflight[1] = 5;
  f.inflight[2] = 3;
  f.group.add_remote_inflight(3, 8);
  CHECK(f.pick(SharedStrategy::least_inflight) == "p3");
  f.group.add_remote_inflight(3, 8);
  CHECK(f.pick(SharedStrategy::least_inflight) == "2");
  f.inflight[2] = 6;
  f.inflight[1] = 6;
  f.group.add_remote_inflight(3, 20);
  CHECK(f.tally(SharedStrategy::least_inflight, 20) == Tally{{"1", 10}, {"2", 10}});
}

TEST_CASE("shared_group: least in flight shares an idle group") {
  Fixture f;
  f.live({1, 2});
  f.group.set_remote(0, 1, 0);
  for (const auto& [who, n] : f.tally(SharedStrategy::least_inflight, 100)) CHECK(n >= 20);
}

TEST_CASE("shared_group: least in flight of a large group looks at some for a message, at all in turn") {
  Fixture f;
  constexpr SubscriberId kMembers = 1000;
  for (SubscriberId s = 0; s < kMembers; ++s) f.group.set_member(s, {}, true);
  int asked = 0;
  std::map<SubscriberId, int> chosen;
  for (SubscriberId i = 0; i < 2 * kMembers; ++i) {
    const auto choice = f.group.pick(SharedStrategy::least_inflight, "p", {}, true, 0, f.random, [&](SubscriberId s) {
      ++asked;
      return s % 10 == 0 ? 0u : 5u;
    });
    ++chosen[choice->subscriber];
  }
  CHECK(asked <= 2 * static_cast<int>(kMembers) * 16);
  CHECK(chosen.size() == kMembers / 10);
}

TEST_CASE("shared_group: pick_local takes offline members only when asked and nobody is live") {
  for (const SharedStrategy strategy : kAll) {
    Fixture f;
    f.group.set_member(1, {}, false);
    CHECK_FALSE(f.group.pick_local(strategy, "pub", false, f.random, f.inflight_of));
    CHECK(f.group.pick_local(strategy, "pub", true, f.random, f.inflight_of) == 1);
    f.live({2});
    CHECK(f.group.pick_local(strategy, "pub", true, f.random, f.inflight_of) == 2);
  }
}

TEST_CASE("shared_group: random changes keep the counts right and choices among members") {
  base::Random random(7);
  SharedGroup group("a", "g");
  std::map<SubscriberId, bool> model;
  for (int i = 0; i < 5000; ++i) {
    const auto s = static_cast<SubscriberId>(random.below(i < 2500 ? 20 : 60));
    const bool live = random.one_in(2);
    switch (random.below(3)) {
      case 0:
        group.set_member(s, {}, live);
        model[s] = live;
        break;
      case 1:
        group.set_live(s, live);
        if (model.contains(s)) model[s] = live;
        break;
      default:
        REQUIRE(group.remove_member(s) == (model.erase(s) == 1));
    }
    size_t live_count = 0;
    for (const auto& [id, is_live] : model) live_count += is_live ? 1 : 0;
    REQUIRE(group.live_members() == live_count);
    REQUIRE(group.members().size() == model.size());
    const auto choice = group.pick(kAll[random.below(6)], "p", {}, true, 0, random, [](SubscriberId) { return 0u; });
    REQUIRE(choice.has_value() == !model.empty());
    if (choice) REQUIRE(model.at(choice->subscriber) == (live_count > 0));
  }
}

}  // namespace router
