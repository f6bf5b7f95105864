// Stands between a hub and its Redis, in the test's own loop, and does what networks do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"

namespace test {

class Proxy {
 public:
  Proxy(loop::Loop& loop, uint16_t server_port);
  ~Proxy();
  uint16_t port() const { return port_; }

  // Closes all connections; what is in them is lost.
  void cut();
  // Does so after so many more bytes from the server (of all connections together) have gone through.
  void cut_after(size_t bytes) { cut_after_ = bytes; }
  bool will_cut() const { return cut_after_ != SIZE_MAX; }
  // Nothing goes through, and nobody is told; false: goes on.
  void stall(bool on);
  // New connections are closed at once.
  void refuse(bool on) { refuse_ = on; }
  void redirect(uint16_t server_port) { server_port_ = server_port; }
  // What comes from the server goes through this.
  void tamper(std::function<std::string(std::string)> change) { change_ = std::move(change); }
  size_t connections() const;

 private:
  struct Side {
    base::UniqueFd fd;
    std::unique_ptr<loop::Poll> poll;
    std::string out;  // to be written here
  };
  struct Pair {
    Proxy* proxy;
    Side client;
    Side server;
    bool dead = false;
  };
  void accept();
  void move(Pair& pair);
  bool pump(Pair& pair, Side& from, Side& to, bool from_server);
  bool write(Side& side);
  void watch(Pair& pair, Side& side);
  void reap();

  loop::Loop& loop_;
  uint16_t server_port_;
  uint16_t port_ = 0;
  base::UniqueFd listener_;
  std::unique_ptr<loop::Poll> poll_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  size_t cut_after_ = SIZE_MAX;
  bool stalled_ = false;
  bool refuse_ = false;
  std::function<std::string(std::string)> change_;
};

}  // namespace test
