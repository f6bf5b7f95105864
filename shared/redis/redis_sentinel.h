// Asks the sentinels, one after the other until one knows, which server is the master now.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/redis/redis_connection.h"

namespace redis {

class SentinelQuery {
 public:
  // The master, or null and why there is none. Called once, from the loop; must not destroy the query.
  using Fn = std::function<void(const HostPort* master, const std::string& error)>;
  // Begins with the sentinel number `first` modulo their number. REQUIRES: !sentinels.empty().
  SentinelQuery(loop::Loop& loop, std::vector<HostPort> sentinels, std::string master_name, size_t first,
                uint64_t timeout_ms, Fn fn);
  bool done() const { return done_; }

 private:
  void ask_next();
  void failed(const std::string& reason);
  std::string on_answer(Reply* reply);

  loop::Loop& loop_;
  const std::vector<HostPort> sentinels_;
  const std::string master_name_;
  const size_t first_;
  const uint64_t timeout_ms_;
  const Fn fn_;
  bool done_ = false;
  std::string errors_;
  std::vector<std::unique_ptr<RedisConnection>> asked_;  // one for each sentinel so far
};

}  // namespace redis
