// One connection to a Redis server or sentinel: commands go out behind each other, answers come back in that order.
//
//   open() ──resolve, connect, AUTH, SELECT, CLIENT SETNAME──> ready ── ... ──> broken
//
// It breaks once and for all: when the server closes it, when bytes are not a reply, when a handler does not like its
// reply, when nothing at all moves for `timeout_ms` although an answer is due, and when opening takes longer than that.
// While it is idle it asks for signs of life (PING). Its owner makes another one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/config/redis_url.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"
#include "shared/loop/resolver.h"
#include "shared/loop/timer.h"
#include "shared/redis/redis_command.h"
#include "shared/redis/redis_reply.h"

namespace redis {

using config::HostPort;

class RedisConnection {
 public:
  struct Options {
    std::string user;
    std::string password;  // empty: no AUTH
    uint32_t database = 0;
    std::string client_name;  // empty: none
    uint64_t timeout_ms = 3000;
    size_t max_reply_bytes = size_t{320} << 20;  // more than the largest MQTT packet
  };
  // None of them may destroy the connection.
  struct Events {
    std::function<void()> ready;
    std::function<void(const std::string& reason)> broken;  // the last that is called, after the handlers
    std::function<std::string(Reply reply)> pushed;         // after listen(); says what is wrong with it, or nothing
  };
  // Gets the reply, or null if the connection has broken. Says why this reply makes the connection useless, or nothing.
  using Handler = std::function<std::string(Reply* reply)>;

  RedisConnection(loop::Loop& loop, Options options, Events events);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Once. Calls may follow at once.
  void open(const HostPort& server);
  // `patience_ms`: how much later than others this may be answered, besides what its size allows. On a broken
  // connection `handler` gets null before this returns.
  void call(const Command& command, Handler handler, uint64_t patience_ms = 0);
  // From here on this connection listens to channels: what comes is pushed. Only listen() and unlisten() may follow.
  void listen(std::string_view channel);
  void unlisten(std::string_view channel);
  // Sends what was called.
  void flush();
  // Breaks it; handlers get null, Events::broken is not called.
  void abandon();

  bool ready() const { return state_ == State::ready; }
  bool broken() const { return state_ == State::broken; }
  // Calls without an answer, and their bytes.
  bool waiting() const { return !pending_.empty() || expected_ > 0; }
  size_t outstanding() const { return outstanding_; }

 private:
  enum class State : uint8_t { fresh, opening, ready, broken };
  struct Pending {
    Handler handler;
    size_t size;
    uint64_t patience_ms;
  };

  void greet();
  void on_resolved(const std::vector<loop::Address>& addresses, const std::string& error);
  void connect_next();
  void on_connected();
  void on_events(int events);
  void receive();
  bool consume();
  void on_reply(Reply reply);
  void on_pushed(Reply reply);
  void write();
  void watch();
  void check();
  void ask_for_life();
  void finish(const std::string& reason, bool tell);
  void fail(const std::string& reason) { finish(reason, true); }

  loop::Loop& loop_;
  const Options options_;
  const Events events_;
  State state_ = State::fresh;
  HostPort server_;
  std::unique_ptr<loop::Resolver> resolver_;
  std::vector<loop::Address> addresses_;  // to be tried, the next one last
  std::string last_error_;                // of an address
  base::UniqueFd fd_;
  std::unique_ptr<loop::Poll> poll_;  // destroyed before the descriptor
  bool connected_ = false;
  std::string out_;
  size_t written_ = 0;  // of out_
  ReplyReader reader_;
  std::deque<Pending> pending_;
  size_t outstanding_ = 0;
  bool listening_ = false;
  size_t expected_ = 0;  // confirmations and pongs, when listening
  uint64_t opened_ms_ = 0;
  uint64_t moved_ms_ = 0;  // when bytes last went in or out, or the first answer became due
  uint64_t heard_ms_ = 0;
  loop::Timer timer_;
};

}  // namespace redis
