// A gateway's way to the model of Redis: calls travel there, are carried out one by one, and their answers travel back,
// each when the driver says so; on the way the connection may break, and then nobody knows what was carried out.
//
//   call ── flush() ──> sent ── carry_out() ──> answered ── answer() ──> due ── run_completions() ──> Done
//
// Reads that wait have connections of their own: read_on() answers one that is due.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/random.h"
#include "tests/sim/redis_model.h"

namespace sim {

class ModelHub final : public cluster::Hub, private RedisModel::Listener {
 public:
  ModelHub(RedisModel& redis, base::Random& random);
  ~ModelHub() override;
  ModelHub(const ModelHub&) = delete;
  ModelHub& operator=(const ModelHub&) = delete;

  // --- the network, for the driver ---
  bool can_connect() const { return events_ != nullptr && !connected_ && (reachable() || !told_down_); }
  void connect();
  bool can_carry_out() const { return intact() && !sent_.empty(); }
  void carry_out(size_t max);
  bool can_answer() const { return connected_ && !partitioned_ && !answered_.empty(); }
  void answer(size_t max);
  bool can_read_on() const;
  void read_on();
  bool can_push() const { return intact() && (!pushed_.empty() || nodes_seen_ != redis_.nodes_version()); }
  void push();
  // The connection is broken and the gateway has not noticed yet.
  bool can_notice() const { return connected_ && !intact(); }
  // The connection breaks (if it is not broken yet), and that is noticed: what is under way is lost, carried out or
  // not.
  void break_off();
  // Nothing passes, in either direction; a connection that is not given up meanwhile goes on afterwards.
  void set_partitioned(bool partitioned) { partitioned_ = partitioned; }
  bool partitioned() const { return partitioned_; }
  // run_completions() would call something.
  bool due() const { return !due_.empty(); }
  bool connected() const { return intact(); }
  // Nothing is under way, but for reads that wait for what is not there.
  bool idle() const;
  const std::string& key() const { return caller_.key; }
  // What a read that waits has after it, for a message: "inbox:entry ..."
  std::string reading() const;

  // --- cluster::Hub ---
  void start(Events& events) override { events_ = &events; }
  void run_completions() override;
  void flush() override;
  bool up() const override { return up_; }
  size_t outstanding() const override { return outstanding_; }
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
  uint32_t directory_parts() const override { return RedisModel::kDirectoryParts; }
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
  uint64_t deletions_kept_ms() const override { return redis_.tombstone_ms; }

 private:
  struct Call {
    size_t bytes = 0;
    std::function<void()> carry_out;  // in Redis
    std::function<void()> lose;       // its answer is not known any more
    std::function<void()> complete;
  };
  struct Reading {  // a call that waits
    uint64_t until = 0;
    std::string what;
    std::function<bool()> there;  // there is something to answer with
    Call call;
  };

  bool reachable() const { return redis_.is_up() && !partitioned_; }
  bool intact() const { return connected_ && reachable() && run_ == redis_.run(); }
  template <typename T>
  Call make(size_t bytes, std::function<RedisModel::Result<T>()> execute, Answer<T> done);
  Call make(size_t bytes, std::function<RedisModel::Status()> execute, Done done);
  size_t some_piece();
  void post(Call call);
  void wait(Reading reading);
  void lose(std::deque<Call>& calls);
  void finish(Call call);
  void on_publish(const std::string& to, const std::string& from, std::string_view frames) override;

  RedisModel& redis_;
  base::Random& random_;
  Events* events_ = nullptr;
  RedisModel::Caller caller_;
  bool connected_ = false;
  bool partitioned_ = false;
  bool up_ = false;
  bool told_down_ = false;
  uint64_t run_ = 0;
  uint64_t nodes_seen_ = 0;
  size_t outstanding_ = 0;
  std::deque<Call> unflushed_;
  std::deque<Call> sent_;
  std::deque<Call> answered_;
  std::vector<Reading> readings_;
  std::deque<std::pair<std::string, std::string>> pushed_;  // datagrams: from, frames
  std::deque<std::function<void()>> due_;
};

}  // namespace sim
