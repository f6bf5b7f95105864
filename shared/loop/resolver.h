// Finds the addresses of a host without stopping the loop: the system's resolver runs in libuv's threads.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/loop/loop.h"

namespace loop {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

class Resolver {
 public:
  // Either addresses, in the order in which they should be tried, or an error.
  using Fn = std::function<void(const std::vector<Address>& addresses, const std::string& error)>;
  // `host` is a name or a numeric address of either family. `fn` is called once, from the loop, unless this object is
  // destroyed before.
  Resolver(Loop& loop, const std::string& host, uint16_t port, Fn fn);

 private:
  struct State;
  struct Cancel {
    void operator()(State* state) const;
  };
  std::unique_ptr<State, Cancel> state_;
};

}  // namespace loop
