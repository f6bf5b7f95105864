// Calls to Redis servers: what Redis says becomes the status and the value that who asked hopes for. Every call is
// answered once, from run_completions(), and counted.
//
// A reply that is not what was hoped for either refuses that call or breaks the connection (severity_of): what a
// handler of RedisServer::call() returns says why.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "shared/cluster/hub.h"
#include "shared/redis/redis_answers.h"
#include "shared/redis/redis_command.h"
#include "shared/redis/redis_reply.h"
#include "shared/redis/redis_server.h"

namespace redis {

class RedisCalls {
 public:
  using Done = cluster::Hub::Done;
  template <typename T>
  using Answer = cluster::Hub::Answer<T>;
  // The value in a reply; nothing: it is none.
  template <typename T>
  using Read = std::function<std::optional<T>(const Reply&)>;
  // Sees a reply before it becomes a status.
  using Look = std::function<void(const Reply&)>;
  enum class Kind : uint8_t { script, plain };  // a script's reply begins with a status

  struct Counts {
    uint64_t calls = 0;
    uint64_t lost = 0;  // of these
    uint64_t refused = 0;
    uint64_t malformed = 0;  // replies
    uint64_t errors = 0;     // of Redis, of those refused
    std::string last_error;
  };

  // `wake`: run_completions() has something to do. May be null.
  explicit RedisCalls(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Runs it in run_completions().
  void post(std::function<void()> event);
  void run_completions();

  template <typename T>
  void ask(RedisServer& server, const Command& command, Answer<T> done, Read<T> read, Kind kind = Kind::script,
           Look look = {}) {
    if (!begin(server.up(), done)) return;
    const auto take_it = [this, done = std::move(done), read = std::move(read), kind, look](Reply* reply) {
      if (look && reply != nullptr) look(*reply);
      return take(reply, done, read, kind);
    };
    server.call(command, take_it);
  }
  // A script that says no more than whether it was done.
  void tell(RedisServer& server, const Command& command, Done done);

  // --- for calls in several steps ---
  // Counts it. False: the server is not up, so it is lost.
  template <typename T>
  bool begin(bool up, const Answer<T>& done) {
    ++counts_.calls;
    if (!up) complete(done, cluster::Status::lost);
    return up;
  }
  template <typename T>
  void complete(const Answer<T>& done, cluster::Status status, T value = {}) {
    if (status == cluster::Status::lost) ++counts_.lost;
    if (status == cluster::Status::refused) ++counts_.refused;
    post([done, status, value = std::move(value)]() mutable { done(status, std::move(value)); });
  }
  // Completes it with what the reply says; null: the connection is gone.
  template <typename T>
  std::string take(const Reply* reply, const Answer<T>& done, const Read<T>& read, Kind kind = Kind::script) {
    if (reply == nullptr) return give_up(reply, done);
    const std::optional<cluster::Status> status = kind == Kind::plain ? cluster::Status::ok : to_status(*reply);
    if (!status) return give_up(reply, done);
    if (*status != cluster::Status::ok) return complete(done, *status), std::string();
    std::optional<T> value = read(*reply);
    if (!value) return give_up(reply, done);
    return complete(done, cluster::Status::ok, std::move(*value)), std::string();
  }
  // Completes it for a reply that is not what was hoped for.
  template <typename T>
  std::string give_up(const Reply* reply, const Answer<T>& done) {
    const bool refused = reply != nullptr && reply->is_error() && severity_of(reply->text) == Severity::refused;
    if (refused) {
      ++counts_.errors;
      counts_.last_error = reply->text;
    }
    complete(done, refused ? cluster::Status::refused : cluster::Status::lost);
    if (reply == nullptr || refused) return {};
    if (reply->is_error()) return reply->text;
    ++counts_.malformed;
    return "malformed answer";
  }
  static std::optional<bool> nothing(const Reply& reply);

  void count_malformed() { ++counts_.malformed; }
  const Counts& counts() const { return counts_; }

 private:
  const std::function<void()> wake_;
  std::deque<std::function<void()>> due_;
  Counts counts_;
};

}  // namespace redis
