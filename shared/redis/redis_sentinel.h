// Asks the sentinels, one after the other until one knows, which server is the master now.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/redis/redis_connection.h"

namespace redis {

// Where the sentinels are, what they call the master, and as whom to speak to them.
struct Sentinels {
  std::vector<HostPort> places;
  std::string master;
  std::string user;
  std::string password;  // empty: no AUTH
};

class SentinelQuery {
 public:
  // The master, or null and why there is none. Called once, from the loop; must not destroy the query.
  using Fn = std::function<void(const HostPort* master, const std::string& error)>;
  // Begins with the sentinel number `first` modulo their number. REQUIRES: !sentinels.places.empty().
  SentinelQuery(loop::Loop& loop, const Sentinels& sentinels, size_t first, uint64_t timeout_ms, Fn fn);
  bool done() const { return done_; }

 private:
  void ask_next();
  void failed(const std::string& reason);
  std::string on_answer(Reply* reply);
  const HostPort& asked_now() const {
    return sentinels_.places[(first_ + asked_.size() - 1) % sentinels_.places.size()];
  }

  loop::Loop& loop_;
  const Sentinels sentinels_;
  const size_t first_;
  const uint64_t timeout_ms_;
  const Fn fn_;
  bool done_ = false;
  std::string errors_;
  std::vector<std::unique_ptr<RedisConnection>> asked_;  // one for each sentinel so far
};

}  // namespace redis
