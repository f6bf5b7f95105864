// A private redis-server (or redis-sentinel) of a test: on 127.0.0.1, a free port and a directory of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/redis/redis_reply.h"
#include "tests/support/temporary_directory.h"

namespace test {

// A port that nobody listened on a moment ago.
uint16_t free_port();

class RedisServer {
 public:
  // `arguments` as on its command line: {"--maxmemory", "10mb"}. Without persistence unless they say so.
  explicit RedisServer(std::vector<std::string> arguments = {}, bool sentinel = false);
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  uint16_t port() const { return port_; }
  const std::string& directory() const { return directory_.path(); }

  // Starts it (the constructor has done that already) and waits until it listens.
  void start();
  // Kills it. Restarted, it has what its persistence has.
  void kill();
  void freeze();
  void thaw();
  bool running() const { return pid_ > 0; }

  // Carries a command out, waiting for the answer. An error is a reply as well.
  redis::Reply command(std::initializer_list<std::string_view> arguments);
  // The same as somebody who has to say something before.
  redis::Reply command_after(std::initializer_list<std::string_view> before,
                             std::initializer_list<std::string_view> arguments);
  // Sends it without waiting. The connection lasts as long as what is returned.
  base::UniqueFd begin(std::initializer_list<std::string_view> arguments);
  // All keys, sorted.
  std::vector<std::string> keys();

 private:
  std::vector<std::string> arguments_;
  const bool sentinel_;
  support::TemporaryDirectory directory_;
  uint16_t port_;
  pid_t pid_ = -1;
};

}  // namespace test
