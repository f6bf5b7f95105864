// Hubs on a real Redis, each behind a proxy of its own, in one loop.
#pragma once

#include <map>
#include <memory>

#include "shared/loop/timer.h"
#include "shared/redis/redis_hub.h"
#include "tests/redis/proxy.h"
#include "tests/redis/server.h"
#include "tests/support/hub_contract.h"

namespace test {

class RedisWorld final : public HubWorld {
 public:
  // Empties the server. `base` are the options of every hub, but for the server's address.
  explicit RedisWorld(RedisServer& server, redis::RedisHub::Options base = {});
  ~RedisWorld() override;

  cluster::Hub& make_hub() override;
  void kill(cluster::Hub& hub) override;
  bool run_until(const std::function<bool()>& done, uint64_t ms) override;
  void cut(cluster::Hub& hub) override;
  void restart_empty() override;
  bool inboxes_apart() const override { return !base.inbox.empty(); }

  // One with options of its own, and without a proxy.
  redis::RedisHub& make_hub(redis::RedisHub::Options options);
  Proxy& proxy(cluster::Hub& hub);
  RedisServer& server() { return server_; }
  loop::Loop& loop() { return loop_; }
  redis::RedisHub::Options base;

 private:
  struct Node {
    std::unique_ptr<Proxy> proxy;
    std::unique_ptr<redis::RedisHub> hub;
  };
  RedisServer& server_;
  loop::Loop loop_;
  loop::Timer timer_;
  std::map<cluster::Hub*, Node> nodes_;
};

}  // namespace test
