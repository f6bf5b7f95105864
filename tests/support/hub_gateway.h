// A gateway of a check of the hub contract, and words for what checks do. Only for hub_contract_*.cc.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/hub_contract.h"

namespace test {

// Each theme's checks.
std::vector<HubCheck> membership_checks();
std::vector<HubCheck> traffic_checks();
std::vector<HubCheck> directory_checks();
std::vector<HubCheck> state_checks();

namespace contract {

using cluster::Changes;
using cluster::Claimed;
using cluster::Copied;
using cluster::Entry;
using cluster::Held;
using cluster::Hub;
using cluster::Info;
using cluster::Membership;
using cluster::Node;
using cluster::Retained;
using cluster::Status;

inline constexpr uint64_t kPatience = 15'000;  // what takes longer than this does not happen
inline constexpr uint64_t kLong = 60'000;      // a lease that does not run out
inline constexpr uint64_t kShort = 400;        // one that does, in expire()

template <typename T>
struct Answered {
  Status status = Status::lost;
  T value{};
};

// A gateway: a hub and what it was told.
class Gateway final : public Hub::Events {
 public:
  explicit Gateway(HubWorld& world) : world_(world), hub_(&world.make_hub()) {
    hub_->start(*this);
    REQUIRE(until([&] { return hub_->up() && ups == 1; }));
  }
  Gateway(HubWorld& world, const std::string& name, uint64_t incarnation, uint64_t lease = kLong) : Gateway(world) {
    const auto joined = join(name, incarnation, lease);
    REQUIRE(joined.status == Status::ok);
    key = joined.value.key;
  }
  ~Gateway() override { die(); }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  void on_up(const Info& info) override {
    ++ups;
    last_info = info;
  }
  void on_down(const std::string&) override { ++downs; }
  void on_datagram(std::string_view from, std::string_view frames) override { datagrams.emplace_back(from, frames); }
  void on_nodes_changed() override { ++changes_of_nodes; }

  Hub& hub() { return *hub_; }
  void die() {
    if (hub_ != nullptr) world_.kill(*std::exchange(hub_, nullptr));
  }
  bool until(const std::function<bool()>& done) { return world_.run_until(done, kPatience); }

  // Makes a call and waits for its answer.
  template <typename T>
  Answered<T> ask(const std::function<void(Hub::Answer<T>)>& call) {
    auto answered = std::make_shared<Answered<T>>();
    auto done = std::make_shared<bool>(false);
    call([answered, done](Status status, T value) {
      *answered = {status, std::move(value)};
      *done = true;
    });
    CHECK_FALSE(*done);
    REQUIRE(until([&] { return *done; }));
    return *answered;
  }
  Status tell(const std::function<void(Hub::Done)>& call) {
    return ask<bool>([&](Hub::Answer<bool> done) { call([done](Status status) { done(status, true); }); }).status;
  }

  Answered<Membership> join(const std::string& name, uint64_t incarnation, uint64_t lease) {
    return ask<Membership>([&](auto done) { hub_->join(name, incarnation, lease, done); });
  }
  Answered<Membership> renew(uint64_t lease = kLong) {
    return ask<Membership>([&](auto done) { hub_->renew(lease, done); });
  }
  Status leave() {
    return tell([&](auto done) { hub_->leave(done); });
  }
  Status send(const std::string& to, uint64_t number, const std::string& frames) {
    return tell([&](auto done) { hub_->send(to, number, frames, done); });
  }
  Answered<std::vector<Entry>> read(const std::string& inbox, uint64_t after, size_t max_bytes = 1 << 20) {
    return ask<std::vector<Entry>>([&](auto done) { hub_->read(inbox, after, max_bytes, done); });
  }
  // Reads until there is nothing more.
  std::vector<Entry> read_all(const std::string& inbox, uint64_t after = 0, size_t max_bytes = 1 << 20) {
    std::vector<Entry> all;
    while (true) {
      const auto piece = read(inbox, after, max_bytes);
      REQUIRE(piece.status == Status::ok);
      if (piece.value.empty()) return all;
      all.insert(all.end(), piece.value.begin(), piece.value.end());
      after = all.back().id;
    }
  }
  Status trim(uint64_t id) {
    return tell([&](auto done) { hub_->trim(id, done); });
  }
  Answered<Claimed> claim(std::string_view client, uint64_t at_least = 0) {
    return ask<Claimed>([&](auto done) { hub_->claim(client, at_least, done); });
  }
  Answered<Held> hold(std::string_view client, uint64_t epoch) {
    return ask<Held>([&](auto done) { hub_->hold(client, epoch, done); });
  }
  // Claims and holds; the epoch.
  uint64_t own(std::string_view client) {
    const uint64_t epoch = claim(client).value.epoch;
    CHECK(hold(client, epoch).value.holder == key);
    return epoch;
  }
  Status withdraw(std::string_view client, uint64_t epoch) {
    return tell([&](auto done) { hub_->withdraw(client, epoch, done); });
  }
  Status release(std::string_view client, uint64_t epoch) {
    return tell([&](auto done) { hub_->release(client, epoch, done); });
  }
  std::string holder(std::string_view client) {
    const auto answer = ask<std::string>([&](auto done) { hub_->holder(client, done); });
    CHECK(answer.status == Status::ok);
    return answer.value;
  }
  Claimed before(std::string_view client, uint64_t epoch) {
    const auto answer = ask<Claimed>([&](auto done) { hub_->before(client, epoch, done); });
    CHECK(answer.status == Status::ok);
    return answer.value;
  }
  // What it holds, or (false) claims, with which epoch.
  std::map<std::pair<std::string, bool>, uint64_t> mine() {
    std::map<std::pair<std::string, bool>, uint64_t> all;
    for (uint32_t part = 0; part < hub_->directory_parts(); ++part) {
      const auto piece = ask<std::vector<Hub::Mine>>([&](auto done) { hub_->mine(part, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Hub::Mine& entry : piece.value) all[{entry.client, entry.holds}] = entry.epoch;
    }
    return all;
  }
  Answered<uint64_t> retain(std::string_view topic, std::string_view value, uint64_t at_least = 0) {
    return ask<uint64_t>([&](auto done) { hub_->retain(topic, value, at_least, done); });
  }
  Answered<uint64_t> retain_again(const Retained& item) {
    return ask<uint64_t>([&](auto done) { hub_->retain_again(item, done); });
  }
  Answered<Changes> changes(uint64_t after) {
    return ask<Changes>([&](auto done) { hub_->changes(after, done); });
  }
  // topic -> (version, value) of everything that is kept.
  std::map<std::string, std::pair<uint64_t, std::string>> snapshot() {
    std::map<std::string, std::pair<uint64_t, std::string>> all;
    uint64_t cursor = 0;
    do {
      const auto piece = ask<Changes>([&](auto done) { hub_->snapshot(cursor, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Retained& item : piece.value.items) all[item.topic] = {item.version, item.value};
      cursor = piece.value.next;
    } while (cursor != 0);
    return all;
  }
  Status begin_copy(uint32_t slot, uint64_t round) {
    return tell([&](auto done) { hub_->begin_copy(slot, round, done); });
  }
  Status copy(uint32_t slot, uint64_t round, const store::Batch& batch) {
    return tell([&](auto done) { hub_->copy(slot, round, batch, done); });
  }
  Status finish_copy(uint32_t slot, uint64_t round) {
    return tell([&](auto done) { hub_->finish_copy(slot, round, done); });
  }
  // (slot, key) -> value of a node's copy.
  std::map<std::pair<uint32_t, std::string>, std::string> read_copy(const std::string& node) {
    std::map<std::pair<uint32_t, std::string>, std::string> all;
    uint64_t cursor = 0;
    do {
      const auto piece = ask<Hub::Records>([&](auto done) { hub_->read_copy(node, cursor, done); });
      REQUIRE(piece.status == Status::ok);
      for (const Copied& item : piece.value.items) all[{item.slot, item.key}] = item.value;
      cursor = piece.value.next;
    } while (cursor != 0);
    return all;
  }
  Answered<std::string> adopt(const std::string& node, uint64_t within = kLong) {
    return ask<std::string>([&](auto done) { hub_->adopt(node, kShort, within, done); });
  }
  Status bury() {
    return tell([&](auto done) { hub_->bury(done); });
  }

  std::string key;
  int ups = 0;
  int downs = 0;
  int changes_of_nodes = 0;
  Info last_info;
  std::vector<std::pair<std::string, std::string>> datagrams;

 private:
  HubWorld& world_;
  Hub* hub_;
};

inline void pass(HubWorld& world, uint64_t ms) {
  world.run_until([] { return false; }, ms);
}

// The lease of a node that was taken with kShort runs out.
inline void expire(HubWorld& world) {
  pass(world, kShort + 50);
}

// Whoever has taken a lease of kShort could have renewed it, and did not for so long that it may be adopted.
inline void calm(HubWorld& world) {
  pass(world, 2 * kShort + 50);
}

inline const Node* find(const std::vector<Node>& nodes, const std::string& key) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const Node& node) { return node.key == key; });
  return found == nodes.end() ? nullptr : &*found;
}

inline store::Batch puts(std::initializer_list<std::pair<const char*, const char*>> records) {
  store::Batch batch;
  for (const auto& [key, value] : records) batch.put(key, value);
  return batch;
}

inline std::string text(const std::string& prefix, size_t number) {
  return prefix + std::to_string(number);
}

inline const std::string kBytes("\0\r\n$5 \xFF{}%*:", 12);  // what must go through everything unchanged

}  // namespace contract
}  // namespace test
