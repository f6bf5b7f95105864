// One Redis server, connected to for ever: a connection for commands, pipelined, and readers for calls that wait (XREAD
// BLOCK delays what is behind it).
//
//   connect ──ask the sentinels, if any──> open ──ROLE, INFO, CONFIG, SCRIPT LOAD──> Events::hello ... greeted()
//     ^                                                                                                    │
//     └──────────── a pause that grows ──────────── fail() <────────────── up <── readers, Events::complete ┘
//
// If the commands' connection breaks, or another that cannot be replaced at once, all are closed, what has no answer is
// lost, and it begins again. Sentinels are asked every few seconds as well: a master that is cut off from them may take
// our writes for as long as we let it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shared/base/random.h"
#include "shared/config/redis_url.h"
#include "shared/log/log.h"
#include "shared/loop/loop.h"
#include "shared/loop/timer.h"
#include "shared/redis/redis_connection.h"
#include "shared/redis/redis_scripts.h"
#include "shared/redis/redis_sentinel.h"

namespace redis {

class RedisServer {
 public:
  struct Options {
    config::RedisUrl url;
    Sentinels sentinels;  // if there are any, url.server is not used
    std::string prefix;
    std::string client_name;  // for CLIENT LIST
    uint64_t timeout_ms = 3000;
    uint64_t max_pause_ms = 2000;  // between two attempts to connect
    size_t readers = 0;            // that are there from the beginning, and stay
    logging::Log* log = nullptr;
  };
  // From callbacks of connections: they may call everything but destroy nothing of this.
  struct Events {
    std::function<void()> hello;     // scripts may be called: what has to be asked first, then greeted()
    std::function<bool()> complete;  // what the owner needs besides is there; see check_up()
    std::function<void()> up;
    std::function<void()> broken;                         // always, before down()
    std::function<void(const std::string& reason)> down;  // not up any more, or at first; once between two up()
  };
  struct Info {
    std::string name;  // address and version, for the log
    std::string run;   // another one after every restart; empty: it does not say
    std::vector<std::string> warnings;
  };
  struct Reader {
    std::unique_ptr<RedisConnection> connection;
    bool busy = false;
    bool was_ready = false;
    uint64_t idle_since_ms = 0;
  };

  RedisServer(loop::Loop& loop, Options options, Events events);
  ~RedisServer();

  void start();
  void flush();
  bool up() const { return up_; }
  // The first attempt is under way.
  bool undecided() const { return connecting_ && !told_down_; }
  const HostPort& address() const { return server_; }
  const Info& info() const { return info_; }
  // Bytes of calls without an answer.
  size_t outstanding() const;
  uint64_t attempts() const { return attempts_; }
  uint64_t breaks() const { return breaks_; }  // of what was up

  // Its owner's other connections.
  RedisConnection::Options connection_options(const char* purpose) const;
  void greeted();
  void check_up();
  void fail(const std::string& reason);
  // Nothing is asked any more, and what has no answer is lost. Before it is destroyed while its owner goes on.
  void stop();

  void call(const Command& command, RedisConnection::Handler handler);
  Command script(Script which) const;
  // One that is idle, or another one.
  Reader& take_reader();
  void release_reader(Reader& reader);

 private:
  void connect();
  void open(const HostPort& server);
  void on_ready();
  void load_scripts();
  std::string on_role(Reply* reply);
  std::string on_info(Reply* reply);
  Reader& open_reader();
  void reap_readers();
  void abandon();
  void tick();
  void ask_sentinels(std::function<void(const HostPort& master)> found, std::function<void(const std::string&)> failed);

  loop::Loop& loop_;
  const Options options_;
  const Events events_;
  base::Random random_;
  std::unique_ptr<SentinelQuery> query_;
  size_t sentinel_ = 0;  // whom to ask first
  uint64_t sentinels_asked_ms_ = 0;
  std::unique_ptr<RedisConnection> commands_;
  std::vector<std::unique_ptr<Reader>> readers_;
  HostPort server_;
  Info info_;
  std::array<std::string, kScripts> shas_;
  bool connecting_ = false;
  bool greeted_ = false;
  bool role_asked_ = false;
  bool up_ = false;
  bool told_down_ = false;
  bool stopped_ = false;
  uint64_t up_since_ms_ = 0;
  uint64_t pause_ms_ = 0;
  uint64_t attempts_ = 0;
  uint64_t breaks_ = 0;
  std::string last_reason_;
  loop::Timer retry_;
  loop::Timer tick_;
};

}  // namespace redis
