#include "tests/redis/world.h"

#include <utility>

namespace test {

RedisWorld::RedisWorld(RedisServer& server, redis::RedisHub::Options options)
    : base(std::move(options)), server_(server), timer_(loop_) {
  if (base.prefix.empty()) base.prefix = "mm:";
  base.url.server.host = "127.0.0.1";
  base.client_name = "hub";
  server_.command_after({"FLUSHALL"}, {"SCRIPT", "FLUSH"});
  timer_.start(1, 1, [] {});
}

RedisWorld::~RedisWorld() = default;

cluster::Hub& RedisWorld::make_hub() {
  auto proxy = std::make_unique<Proxy>(loop_, server_.port());
  redis::RedisHub::Options options = base;
  options.url.server.port = proxy->port();
  redis::RedisHub& hub = make_hub(std::move(options));
  nodes_[&hub].proxy = std::move(proxy);
  return hub;
}

redis::RedisHub& RedisWorld::make_hub(redis::RedisHub::Options options) {
  auto hub = std::make_unique<redis::RedisHub>(loop_, std::move(options));
  redis::RedisHub& made = *hub;
  nodes_[&made].hub = std::move(hub);
  return made;
}

void RedisWorld::kill(cluster::Hub& hub) {
  nodes_.erase(&hub);
}

bool RedisWorld::run_until(const std::function<bool()>& done, uint64_t ms) {
  loop_.update_time();
  const uint64_t end = loop_.now_ms() + ms + 1;  // the present millisecond has begun before
  while (!done()) {
    if (loop_.now_ms() >= end) return false;
    for (const auto& [hub, node] : nodes_) hub->flush();
    loop_.run_once();
    for (const auto& [hub, node] : nodes_) hub->run_completions();
  }
  return true;
}

void RedisWorld::cut(cluster::Hub& hub) {
  proxy(hub).cut();
}

void RedisWorld::restart_empty() {
  server_.kill();
  server_.start();
}

Proxy& RedisWorld::proxy(cluster::Hub& hub) {
  return *nodes_.at(&hub).proxy;
}

}  // namespace test
