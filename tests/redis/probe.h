// A gateway of a test on a real Redis: a hub with what it has told, and calls that wait for their answers.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/redis/world.h"

namespace test {

template <typename T>
struct Answer {
  cluster::Status status = cluster::Status::lost;
  T value{};
};

class Probe : public cluster::Hub::Events {
 public:
  static constexpr uint64_t kPatience = 20'000;

  // Behind a proxy, not up yet.
  explicit Probe(RedisWorld& world) : Probe(world, static_cast<redis::RedisHub&>(world.make_hub())) {}
  Probe(RedisWorld& world, redis::RedisHub& with) : hub(with), world_(world) { hub.start(*this); }
  // Up and joined.
  Probe(RedisWorld& world, const std::string& name, uint64_t lease = 60'000) : Probe(world) {
    REQUIRE(until([&] { return ups == 1; }));
    REQUIRE(join(name, 1, lease) == cluster::Status::ok);
  }
  ~Probe() override { world_.kill(hub); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  void on_up(const cluster::Info& up) override {
    ++ups;
    info = up;
  }
  void on_down(const std::string& why) override {
    ++downs;
    reason = why;
  }
  void on_datagram(std::string_view, std::string_view frames) override { datagrams.emplace_back(frames); }
  void on_nodes_changed() override { ++changes_of_nodes; }

  bool until(const std::function<bool()>& done, uint64_t ms = kPatience) { return world_.run_until(done, ms); }
  // The next on_up() after this.
  bool back() {
    return until([&, before = ups] { return ups > before; });
  }
  Proxy& proxy() { return world_.proxy(hub); }

  template <typename T>
  Answer<T> ask(const std::function<void(cluster::Hub::Answer<T>)>& call) {
    auto answer = std::make_shared<std::pair<bool, Answer<T>>>();
    call([answer](cluster::Status status, T value) { *answer = {true, {status, std::move(value)}}; });
    REQUIRE(until([&] { return answer->first; }));
    return answer->second;
  }
  cluster::Status tell(const std::function<void(cluster::Hub::Done)>& call) {
    const auto wrapped = [&](cluster::Hub::Answer<bool> done) {
      call([done](cluster::Status status) { done(status, true); });
    };
    return ask<bool>(wrapped).status;
  }
  cluster::Status join(const std::string& name, uint64_t gateway, uint64_t lease) {
    const auto joined = ask<cluster::Membership>([&](auto done) { hub.join(name, gateway, lease, std::move(done)); });
    if (joined.status == cluster::Status::ok) key = joined.value.key;
    return joined.status;
  }
  Answer<cluster::Membership> renew(uint64_t lease = 60'000) {
    return ask<cluster::Membership>([&](auto done) { hub.renew(lease, std::move(done)); });
  }
  cluster::Status send(const std::string& to, uint64_t number, const std::string& frames = "frames") {
    return tell([&](auto done) { hub.send(to, number, frames, std::move(done)); });
  }
  Answer<std::vector<cluster::Entry>> read(const std::string& inbox, uint64_t after = 0) {
    return ask<std::vector<cluster::Entry>>([&](auto done) { hub.read(inbox, after, 1 << 20, std::move(done)); });
  }
  Answer<cluster::Claimed> claim(const std::string& client) {
    return ask<cluster::Claimed>([&](auto done) { hub.claim(client, 0, std::move(done)); });
  }
  Answer<cluster::Held> hold(const std::string& client, uint64_t epoch) {
    return ask<cluster::Held>([&](auto done) { hub.hold(client, epoch, std::move(done)); });
  }
  Answer<uint64_t> retain(const std::string& topic, const std::string& value) {
    return ask<uint64_t>([&](auto done) { hub.retain(topic, value, 0, std::move(done)); });
  }
  Answer<cluster::Changes> changes(uint64_t after) {
    return ask<cluster::Changes>([&](auto done) { hub.changes(after, std::move(done)); });
  }
  cluster::Status copy(const std::string& record, const std::string& value) {
    store::Batch batch;
    if (value.empty()) {
      batch.erase(record);
    } else {
      batch.put(record, value);
    }
    hub.begin_copy(0, 1, [](cluster::Status) {});
    return tell([&](auto done) { hub.copy(0, 1, batch, std::move(done)); });
  }

  redis::RedisHub& hub;
  std::string key;
  int ups = 0;
  int downs = 0;
  int changes_of_nodes = 0;
  std::string reason;
  cluster::Info info;
  std::vector<std::string> datagrams;

 private:
  RedisWorld& world_;
};

}  // namespace test
