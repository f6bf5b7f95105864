#include "shared/redis/redis_calls.h"

namespace redis {

void RedisCalls::post(std::function<void()> event) {
  const bool first = due_.empty();
  due_.push_back(std::move(event));
  if (first && wake_) wake_();
}

void RedisCalls::run_completions() {
  for (size_t left = due_.size(); left > 0; --left) {
    const std::function<void()> event = std::move(due_.front());
    due_.pop_front();
    event();
  }
  if (!due_.empty() && wake_) wake_();
}

void RedisCalls::tell(RedisServer& server, const Command& command, Done done) {
  ask<bool>(
      server, command, [done = std::move(done)](cluster::Status status, bool) { done(status); }, nothing);
}

std::optional<bool> RedisCalls::nothing(const Reply& reply) {
  if (reply.items.size() != 1) return std::nullopt;
  return true;
}

}  // namespace redis
