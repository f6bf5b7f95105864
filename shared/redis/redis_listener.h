// The connection of a hub that listens: to datagrams for this node, and to the news that nodes have changed.
//
// Redis closes it when it does not keep up with what comes (client-output-buffer-limit pubsub). Nothing but datagrams
// is lost by that, so it is replaced alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/loop/loop.h"
#include "shared/redis/redis_connection.h"

namespace redis {

class RedisListener {
 public:
  // From callbacks of the connection: they may call everything but destroy nothing of this.
  struct Events {
    std::function<void()> listening;                           // what happened before is not known
    std::function<void(const std::string& reason)> failed;     // it does not come to that
    std::function<void(const std::string& reason)> replacing;  // it was listening
    std::function<void()> nodes_changed;
    std::function<void(std::string_view from, std::string_view frames)> datagram;
    std::function<void()> malformed;  // a message that nobody of ours has sent
  };
  // `channels`: what the names of all channels begin with.
  RedisListener(loop::Loop& loop, std::string channels, Events events);

  void open(const HostPort& server, const RedisConnection::Options& options);
  void abandon();
  void flush();
  // Forgets connections that are broken. Not from a callback of one.
  void reap() { old_.clear(); }
  bool listening() const { return listening_; }
  // For datagrams to that node, from now on.
  void hear(const std::string& key);

  std::string nodes_channel() const { return channels_ + "nodes"; }
  // Whom datagrams to that node go to.
  std::string channel_of(std::string_view key) const { return channels_ + "q0:" + std::string(key); }
  static std::string datagram(std::string_view from, std::string_view frames);

 private:
  void connect();
  void on_broken(const std::string& reason);
  void subscribe();
  std::string on_pushed(Reply reply);
  std::string on_message(const std::string& channel, const std::string& payload);

  loop::Loop& loop_;
  const std::string channels_;
  const Events events_;
  HostPort server_;
  RedisConnection::Options options_;
  std::unique_ptr<RedisConnection> connection_;
  std::vector<std::unique_ptr<RedisConnection>> old_;
  bool listening_ = false;  // to the news of nodes
  std::string key_;         // whose datagrams are wanted
  std::string heard_;       // whose datagrams the connection gets
};

}  // namespace redis
