// The further Redis servers on which inboxes of nodes are, where the configuration says so; each node's record names
// the one that has its inbox. All else is with the one server that everybody knows, the control server.
//
// A further server cannot see the records of nodes, so a gateway announces itself there before it sends or reads, under
// the number of its join, which the control server has given it: who has announced itself with a lower one is fenced
// there. An entry that its predecessor puts in before that is as one it had put in before it was replaced.
//
// A server that has lost what it had shows by its id, or by its run (which a restart changes: it may have lost
// something). The control server knows the identity of each; a change of it changes the cluster's id, which has
// everybody tell everybody everything again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/cluster/hub.h"
#include "shared/redis/redis_server.h"

namespace redis {

class RedisInboxes {
 public:
  // A process that speaks for a node.
  struct Self {
    std::string key;
    uint64_t gateway = 0;
    uint64_t joined = 0;  // number of its join
    std::string inbox;    // address of the server that has its inbox; empty: the control server
  };
  struct Server {
    std::string address;
    std::unique_ptr<RedisServer> redis;
    bool announcing = false;
    bool announced = false;
    uint64_t announced_ms = 0;
    bool fenced = false;                         // somebody else has announced itself for our node since we joined
    std::vector<std::function<void()>> waiting;  // for its being known whether it is usable
    bool usable() const { return redis->up() && announced; }
    bool undecided() const { return !usable() && !fenced && (announcing || redis->undecided()); }
  };
  struct Events {
    // To be compared with what the control server knows. `done(false)`: that cannot be said now.
    std::function<void(const std::string& address, const std::string& identity, std::function<void(bool)> done)> seen;
    std::function<void(Server& server)> changed;  // it is usable or fenced now, or neither
  };

  // `options`: those of the control server, but for where it is.
  RedisInboxes(loop::Loop& loop, RedisServer::Options options, Events events);

  // Begins to connect to it.
  void need(const std::string& address);
  // After join(): everything is announced again.
  void on_joined(Self self);
  void on_nodes(const std::vector<cluster::Node>& nodes);
  // Between two on_nodes(): that node has its inbox there.
  void place(const std::string& node, const std::string& address);
  void tick();
  void flush();
  size_t outstanding() const;
  // Servers that have an inbox we need and are not usable.
  uint32_t missing() const;

  // The server that has that node's inbox; null: the control server.
  Server* of(std::string_view node);
  Server* own() { return find(self_.inbox); }
  // It does not know us (any more).
  Server* announce_again(const std::string& address);
  // That announced us: we are not needed any more.
  template <typename F>
  void for_each_usable(F&& f) {
    for (auto& [address, server] : servers_) {
      if (server.usable()) f(server);
    }
  }

 private:
  Server* find(const std::string& address);
  void announce(Server& server);
  std::string on_announced(const std::string& address, Reply* reply);
  void announced(const std::string& address, bool ok);
  void changed(Server& server);
  void log(const Server& server, bool up, const std::string& text) const;

  loop::Loop& loop_;
  const RedisServer::Options options_;
  const Events events_;
  Self self_;
  std::map<std::string, Server> servers_;                   // by address
  std::map<std::string, std::string, std::less<>> places_;  // node -> address, of those that have one
};

}  // namespace redis
