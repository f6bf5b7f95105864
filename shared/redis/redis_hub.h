// cluster::Hub on a Redis server, 7.0 or later, the control server; inboxes may be on further ones (redis_inboxes.h).
//
//   control    every call but the two that wait; readers for these: two, and one more for each inbox that is read
//   beside listener   pub/sub: datagrams to this node, and the news that nodes have changed inboxes    further servers:
//   send(), read(), trim() of inboxes that are there
//
// It is up when the control server and the listener are. While a further server is not there, what concerns the inboxes
// on it is lost or refused, and nothing else; a node whose own inbox is there does not join.
//
// What Redis may say to a call: OOM, BUSY, MISCONF, NOREPLICAS, WRONGTYPE, NOPERM and other errors make it `refused`.
// READONLY and LOADING (not the master we want), NOSCRIPT (they were flushed), NOAUTH, and everything that is not a
// well-formed answer to that call break the connection.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shared/cluster/host_identity.h"
#include "shared/cluster/hub.h"
#include "shared/config/config.h"
#include "shared/log/log.h"
#include "shared/loop/loop.h"
#include "shared/loop/timer.h"
#include "shared/redis/redis_answers.h"
#include "shared/redis/redis_calls.h"
#include "shared/redis/redis_connection.h"
#include "shared/redis/redis_inboxes.h"
#include "shared/redis/redis_scripts.h"
#include "shared/redis/redis_server.h"

namespace redis {

class RedisHub final : public cluster::Hub {
 public:
  struct Options {
    config::RedisUrl url;
    Sentinels sentinels;  // if there are any, url.server is not used
    std::string inbox;    // address of the server that is to have this node's inbox; empty: the control server
    std::string prefix;
    std::string client_name;  // for CLIENT LIST
    cluster::HostIdentity host;
    uint64_t timeout_ms = 3000;
    uint64_t block_ms = 1000;            // how long read() and changes() wait
    uint64_t tombstones_ms = 3'600'000;  // how long deletions are kept
    uint64_t max_changes = 100'000;      // how many changes are kept at least, while they are not older than
    uint64_t changes_ms = 600'000;
    uint64_t max_pause_ms = 2000;  // between two attempts to connect
    std::function<void()> wake;    // run_completions() has something to do
    logging::Log* log = nullptr;
  };
  // Of a configuration. False: `error` says which key is wrong, and why.
  [[nodiscard]] static bool options_of(const config::Redis& config, Options& options, std::string& error);

  RedisHub(loop::Loop& loop, Options options);
  ~RedisHub() override;

  void start(Events& events) override;
  void run_completions() override { calls_.run_completions(); }
  void flush() override;
  bool up() const override { return control_.up(); }
  size_t outstanding() const override { return control_.outstanding() + inboxes_.outstanding(); }
  uint32_t missing_servers() const override { return inboxes_.missing(); }

  void join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<cluster::Membership> done) override;
  void renew(uint64_t lease_ms, Answer<cluster::Membership> done) override;
  void leave(Done done) override;

  void send(const std::string& to, uint64_t number, std::string frames, Done done) override;
  void datagram(const std::string& to, std::string_view frames) override;
  void read(const std::string& inbox, uint64_t after, size_t max_bytes,
            Answer<std::vector<cluster::Entry>> done) override;
  void trim(uint64_t id, Done done) override;

  void claim(std::string_view client, uint64_t at_least, Answer<cluster::Claimed> done) override;
  void hold(std::string_view client, uint64_t epoch, Answer<cluster::Held> done) override;
  void withdraw(std::string_view client, uint64_t epoch, Done done) override;
  void release(std::string_view client, uint64_t epoch, Done done) override;
  void holder(std::string_view client, Answer<std::string> done) override;
  void before(std::string_view client, uint64_t epoch, Answer<cluster::Claimed> done) override;
  uint32_t directory_parts() const override { return kBuckets; }
  void mine(uint32_t part, Answer<std::vector<Mine>> done) override;

  void retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) override;
  void retain_again(const cluster::Retained& item, Answer<uint64_t> done) override;
  void changes(uint64_t after, Answer<cluster::Changes> done) override;
  void snapshot(uint64_t cursor, Answer<cluster::Changes> done) override;

  void begin_copy(uint32_t slot, uint64_t round, Done done) override;
  void copy(uint32_t slot, uint64_t round, const store::Batch& batch, Done done) override;
  void finish_copy(uint32_t slot, uint64_t round, Done done) override;
  void keep_copies(uint32_t slots, Done done) override;
  void read_copy(const std::string& node, uint64_t cursor, Answer<Records> done) override;

  void adopt(const std::string& node, uint64_t lease_ms, uint64_t within_ms, Answer<std::string> done) override;
  void bury(Done done) override;

  struct Statistics {
    uint64_t attempts = 0;  // to connect to the control server
    uint64_t breaks = 0;    // of what was up
    RedisCalls::Counts calls;
  };
  Statistics statistics() const;

 private:
  using Reader = RedisServer::Reader;
  // How many elements to ask for, so that a piece has about the bytes that are wanted: what it learns from the last
  // one.
  class PieceSize {
   public:
    uint64_t count() const { return count_; }
    void learn(size_t elements, size_t bytes, size_t wanted);
    void forget() { count_ = kFirst; }

   private:
    static constexpr uint64_t kFirst = 16;
    static constexpr uint64_t kMost = 1000;
    uint64_t count_ = kFirst;
  };

  // --- connecting ---
  static RedisServer::Options server_options(const Options& options);
  RedisServer::Events control_events();
  RedisInboxes::Events inbox_events();
  void hello();
  std::string on_hello(Reply* reply);
  void on_up();
  void on_broken();
  void open_listener();
  std::string on_pushed(Reply reply);
  std::string on_message(const std::string& channel, const std::string& payload);
  void listen_to_own_datagrams();
  void tick();

  // --- calls ---
  Command script(Script which) const { return control_.script(which); }
  Command fenced_script(Script which) const { return fenced_script(control_, which); }
  // About an inbox on a further server: when it is known whether it is usable.
  void tell(RedisInboxes::Server& server, Script which, std::function<void(Command&)> add, Done done);
  void tell_now(RedisInboxes::Server& server, Script which, const std::function<void(Command&)>& add, Done done);
  Command fenced_script(const RedisServer& server, Script which) const;
  void directory(Script which, std::string_view client, uint64_t epoch, Done done);
  void on_joined(const Joined& joined);
  void finish_join();
  void note_taken(bool taken, const std::string& name);
  void bury_here(const Done& done);
  struct Reading;
  void read_entries(RedisServer& server, Reader& reader, const std::shared_ptr<Reading>& reading);
  struct ChangesReading;
  void read_changes(Reader& reader, const std::shared_ptr<ChangesReading>& reading);
  void read_kept(Reader& reader, const std::shared_ptr<ChangesReading>& reading);

  std::string key(std::string_view name) const { return options_.prefix + std::string(name); }
  std::string channel(std::string_view name) const;

  loop::Loop& loop_;
  const Options options_;
  Events* events_ = nullptr;
  RedisCalls calls_{options_.wake};
  RedisServer control_;
  RedisInboxes inboxes_;
  std::unique_ptr<RedisConnection> listener_;
  std::vector<std::unique_ptr<RedisConnection>> old_listeners_;  // broken, until the next tick
  uint64_t cluster_id_ = 0;
  bool listening_ = false;  // the listener hears of nodes
  loop::Timer tick_;

  std::string key_;  // of this node, and what join() said
  uint64_t gateway_ = 0;
  std::string listened_;  // whose datagrams the listener hears
  // A join that waits for the server that has our inbox.
  struct Joining {
    cluster::Membership membership;
    Answer<cluster::Membership> done;
  };
  std::optional<Joining> joining_;
  uint64_t taken_told_ms_ = 0;
  // The highest numbers that this server has given: if it knows of lower ones it has lost something.
  uint64_t known_epoch_ = 0;
  uint64_t known_version_ = 0;

  std::set<std::string> checked_;  // inboxes whose end was looked at since their server was connected to
  uint64_t changes_checked_ms_ = 0;
  PieceSize entries_;
  PieceSize changes_;
  PieceSize snapshot_;
  PieceSize records_;
};

}  // namespace redis
