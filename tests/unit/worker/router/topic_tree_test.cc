#include "worker/router/topic_tree.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "worker/router/shared_group.h"

namespace router {
namespace {

// Who a topic reaches, ordered.
std::vector<SubscriberId> receivers(const TopicTree& tree, std::string_view topic) {
  MatchResult result;
  tree.match(topic, result);
  std::vector<SubscriberId> ids;
  for (const LocalSubscription& s : result.local) ids.push_back(s.subscriber);
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<uint32_t> peers_for(const TopicTree& tree, std::string_view topic) {
  MatchResult result;
  tree.match(topic, result);
  std::vector<uint32_t> peers;
  result.peers.for_each([&](uint32_t p) { peers.push_back(p); });
  return peers;
}

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

using Ids = std::vector<SubscriberId>;

}  // namespace

TEST_CASE("topic_tree: one filter, one topic") {
  struct Row {
    const char* filter;
    const char* topic;
    bool matches;
  };
  const Row rows[] = {
      {"a", "a", true},
      {"a", "b", false},
      {"a", "a/b", false},
      {"a/b", "a", false},
      {"a/b", "a/b", true},
      {"+", "a", true},
      {"+", "", true},
      {"+", "a/b", false},
      {"+", "/a", false},
      {"+/+", "/", true},
      {"+/+", "/a", true},
      {"/+", "/a", true},
      {"/+", "a", false},
      {"a/+", "a", false},
      {"a/+", "a/", true},
      {"a/+/b", "a//b", true},
      {"a/+/b", "a/x/b", true},
      {"a/+/b", "a/x/c", false},
      {"a//b", "a//b", true},
      {"a//b", "a/b", false},
      {"/", "/", true},
      {"/", "//", false},
      {"//", "//", true},
      {"#", "a", true},
      {"#", "/", true},
      {"#", "a/b/c", true},
      {"a/#", "a", true},
      {"a/#", "a/", true},
      {"a/#", "a/b/c", true},
      {"a/#", "ab", false},
      {"a/#", "b/a", false},
      {"/#", "/", true},
      {"/#", "/a", true},
      {"/#", "a", false},
      {"+/#", "a", true},
      {"+/#", "/", true},
      {"+/b/#", "a/b", true},
      {"+/b/#", "a/c", false},
      {"a/+/#", "a", false},
      {"a/+/#", "a/b", true},
      {"#", "$SYS/x", false},
      {"+/x", "$SYS/x", false},
      {"$SYS/#", "$SYS/x", true},
      {"$SYS/+", "$SYS/x", true},
      {"$SYS/#", "$SYS", true},
      {"a/+", "a/$b", true},
      {"a/#", "a/$b", true},
      {"#", "$", false},
      {"$/#", "$", true},
      {"A", "a", false},
      {"+/#", "$SYS", false},
      {"a long level of text", "a long level of text", true},
      {"a long level of text", "a long level of texT", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.filter);
    CAPTURE(row.topic);
    TopicTree tree;
    tree.add(row.filter, 7, {});
    CHECK(receivers(tree, row.topic) == (row.matches ? Ids{7} : Ids{}));
  }
}

TEST_CASE("topic_tree: every matching subscription is collected, with its options") {
  TopicTree tree;
  tree.add("a/b", 1, {.qos = proto::QoS::exactly_once, .identifier = 10});
  tree.add("a/+", 1, {.qos = proto::QoS::at_least_once, .no_local = true, .identifier = 11});
  MatchResult result;
  tree.match("a/b", result);
  std::sort(result.local.begin(), result.local.end(),
            [](auto& x, auto& y) { return x.options.identifier < y.options.identifier; });
  REQUIRE(result.local.size() == 2);
  CHECK(result.local[0].options == SubscriptionOptions{.qos = proto::QoS::exactly_once, .identifier = 10});
  CHECK(result.local[1].options.no_local);
}

TEST_CASE("topic_tree: match appends to the result") {
  TopicTree tree;
  tree.add("a", 1, {});
  MatchResult result;
  tree.match("a", result);
  tree.match("a", result);
  CHECK(result.local.size() == 2);
  result.clear();
  CHECK(result.empty());
}

TEST_CASE("topic_tree: update changes the options in place") {
  TopicTree tree;
  const auto added = tree.add("a", 1, {});
  const uint64_t before = tree.generation();
  tree.update(added.node, added.position, {.qos = proto::QoS::at_least_once});
  CHECK(tree.generation() != before);
  MatchResult result;
  tree.match("a", result);
  CHECK(result.local[0].options.qos == proto::QoS::at_least_once);
}

TEST_CASE("topic_tree: removing the last subscriber prunes the branch") {
  TopicTree tree;
  const auto deep = tree.add("a/b/c/+/#", 1, {});
  const auto side = tree.add("a/b", 2, {});
  CHECK(tree.size() == 5);
  CHECK(tree.remove(deep.node, deep.position).last_local);
  CHECK(tree.size() == 2);
  tree.remove(side.node, side.position);
  CHECK(tree.size() == 0);
}

TEST_CASE("topic_tree: a node with something below it stays when its subscribers leave") {
  TopicTree tree;
  const auto above = tree.add("a", 1, {});
  tree.add("a/b", 2, {});
  tree.remove(above.node, above.position);
  CHECK(tree.find("a") == kNoNode);
  CHECK(tree.size() == 2);
  CHECK(receivers(tree, "a/b") == Ids{2});
}

TEST_CASE("topic_tree: removal tells whose position changed") {
  TopicTree tree;
  const auto first = tree.add("a", 1, {});
  CHECK(first.first_local);
  tree.add("a", 2, {});
  const auto last = tree.add("a", 3, {});
  CHECK_FALSE(last.first_local);
  const auto removed = tree.remove(first.node, first.position);
  CHECK(removed.moved);
  CHECK(removed.moved_subscriber == 3);
  CHECK(removed.moved_from == last.position);
  CHECK_FALSE(tree.remove(first.node, 1).moved);
  CHECK(receivers(tree, "a") == Ids{3});
}

TEST_CASE("topic_tree: a hundred thousand subscribers of one filter come and go") {
  TopicTree tree;
  NodeId node = kNoNode;
  for (SubscriberId s = 0; s < 100'000; ++s) node = tree.add("news", s, {}).node;
  CHECK(receivers(tree, "news").size() == 100'000);
  for (SubscriberId s = 0; s < 100'000; ++s) tree.remove(node, 0);
  CHECK(tree.size() == 0);
  CHECK(tree.memory() < 100'000);
}

TEST_CASE("topic_tree: find and filter_of") {
  TopicTree tree;
  for (const char* filter : {"a", "/", "//", "a//b", "+/a level of more than ten bytes/#", "#", "/+"}) {
    CHECK(tree.find(filter) == kNoNode);
    const NodeId node = tree.add(filter, 1, {}).node;
    CHECK(tree.find(filter) == node);
    CHECK(tree.filter_of(node) == filter);
  }
}

TEST_CASE("topic_tree: local filters are listed once") {
  TopicTree tree;
  tree.add("a/b", 1, {});
  tree.add("a/b", 2, {});
  tree.add("+", 1, {});
  tree.set_peer("x", 1, false);
  std::vector<std::string> filters;
  tree.for_each_local_filter([&](NodeId n) { filters.push_back(tree.filter_of(n)); });
  std::sort(filters.begin(), filters.end());
  CHECK(filters == std::vector<std::string>{"+", "a/b"});
}

TEST_CASE("topic_tree: peers are collected once each, durable ones marked") {
  TopicTree tree;
  tree.set_peer("a/#", 3, false);
  tree.set_peer("a/b", 3, true);
  tree.set_peer("+/b", 255, false);
  tree.set_peer("a/c", 4, true);
  MatchResult result;
  tree.match("a/b", result);
  CHECK(peers_for(tree, "a/b") == std::vector<uint32_t>{3, 255});
  CHECK(result.durable_peers.contains(3));
  CHECK_FALSE(result.durable_peers.contains(255));
  CHECK(result.local.empty());
}

TEST_CASE("topic_tree: setting a peer again changes its durability only") {
  TopicTree tree;
  tree.set_peer("a", 1, false);
  const uint64_t before = tree.generation();
  tree.set_peer("a", 1, false);
  CHECK(tree.generation() == before);
  tree.set_peer("a", 1, true);
  CHECK(tree.generation() != before);
  tree.clear_peer("a", 1);
  CHECK(tree.size() == 0);
}

TEST_CASE("topic_tree: clearing what is not there changes nothing") {
  TopicTree tree;
  tree.set_peer("a/b", 1, false);
  const uint64_t before = tree.generation();
  tree.clear_peer("a/b", 2);
  tree.clear_peer("a", 1);
  tree.clear_peer("x", 1);
  tree.remove_peer(2);
  CHECK(tree.generation() == before);
  CHECK(peers_for(tree, "a/b") == std::vector<uint32_t>{1});
}

TEST_CASE("topic_tree: remove_peer forgets this peer and prunes") {
  TopicTree tree;
  for (int i = 0; i < 1000; ++i) {
    tree.set_peer("a/" + std::to_string(i), 1, false);
    if (i % 2 == 0) tree.set_peer("a/" + std::to_string(i), 2, false);
  }
  tree.remove_peer(1);
  CHECK(tree.size() == 501);
  CHECK(peers_for(tree, "a/10") == std::vector<uint32_t>{2});
  CHECK(peers_for(tree, "a/11").empty());
  tree.remove_peer(2);
  CHECK(tree.size() == 0);
}

TEST_CASE("topic_tree: a group is found, matched and released") {
  TopicTree tree;
  SharedGroup& g = tree.group("a/+", "g");
  CHECK(&tree.group("a/+", "g") == &g);
  CHECK(&tree.group("a/+", "h") != &g);
  CHECK(tree.find_group("a/+", "x") == nullptr);
  CHECK(tree.find_group("a", "g") == nullptr);
  g.set_member(1, {}, true);
  MatchResult result;
  tree.match("a/b", result);
  CHECK(result.groups.size() == 2);
  CHECK_FALSE(tree.release_group(g));
  g.remove_member(1);
  CHECK(tree.release_group(g));
  CHECK(tree.release_group(*tree.find_group("a/+", "h")));
  CHECK(tree.size() == 0);
}

TEST_CASE("topic_tree: for_each_group sees every group") {
  TopicTree tree;
  for (const char* filter : {"a", "b", "a/#"}) tree.group(filter, "g");
  tree.release_group(*tree.find_group("a", "g"));
  std::vector<std::string> filters;
  tree.for_each_group([&](SharedGroup& g) { filters.push_back(g.filter()); });
  std::sort(filters.begin(), filters.end());
  CHECK(filters == std::vector<std::string>{"a/#", "b"});
}

TEST_CASE("topic_tree: a topic of thirty thousand levels") {
  const std::string deep = repeat("a/", 30'000);
  TopicTree tree;
  const auto exact = tree.add(deep, 1, {});
  const auto pluses = tree.add(repeat("+/", 30'000) + "#", 2, {});
  tree.add("#", 3, {});
  CHECK(receivers(tree, deep) == Ids{1, 2, 3});
  CHECK(receivers(tree, deep + "/x") == Ids{2, 3});
  CHECK(tree.filter_of(exact.node) == deep);
  tree.remove(exact.node, exact.position);
  tree.remove(pluses.node, pluses.position);
  CHECK(tree.size() == 1);
}

TEST_CASE("topic_tree: an exact subscription costs about a hundred bytes over its topic") {
  constexpr size_t kCount = 100'000;
  TopicTree tree;
  size_t topic_bytes = 0;
  for (size_t i = 0; i < kCount; ++i) {
    const std::string topic = "site/" + std::to_string(i % 100) + "/device/" + std::to_string(i) + "/temp";
    topic_bytes += topic.size();
    tree.add(topic, static_cast<SubscriberId>(i), {});
  }
  const size_t per_subscription = (tree.memory() - topic_bytes) / kCount;
  MESSAGE("bytes over the topic's length: " << per_subscription);
  CHECK(per_subscription < 150);
}

}  // namespace router
