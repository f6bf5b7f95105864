#include "tests/sim/model_hub.h"

#include <algorithm>

namespace sim {

using cluster::Changes;
using cluster::Claimed;
using cluster::Held;
using cluster::Membership;
using cluster::Retained;

namespace {
constexpr uint64_t kWaitMs = 1000;
constexpr size_t kSmallPiece = 6;  // of a snapshot, at most
constexpr size_t kLargePiece = 1000;
}  // namespace

ModelHub::ModelHub(RedisModel& redis, base::Random& random) : redis_(redis), random_(random) {
  redis_.attach(*this);
}

ModelHub::~ModelHub() {
  redis_.detach(*this);
}

// --- the network ---

void ModelHub::connect() {
  if (!reachable()) {
    told_down_ = true;
    due_.emplace_back([this] { events_->on_down("not reachable"); });
    return;
  }
  connected_ = true;
  told_down_ = true;
  run_ = redis_.run();
  nodes_seen_ = redis_.nodes_version();
  due_.emplace_back([this] {
    up_ = true;
    events_->on_up({redis_.cluster_id(), "model", {}});
  });
}

void ModelHub::carry_out(size_t max) {
  for (; max > 0 && !sent_.empty(); --max) {
    sent_.front().carry_out();
    answered_.push_back(std::move(sent_.front()));
    sent_.pop_front();
  }
}

void ModelHub::answer(size_t max) {
  for (; max > 0 && !answered_.empty(); --max) {
    finish(std::move(answered_.front()));
    answered_.pop_front();
  }
}

void ModelHub::finish(Call call) {
  due_.emplace_back([this, call = std::move(call)] {
    outstanding_ -= call.bytes;
    call.complete();
  });
}

bool ModelHub::can_read_on() const {
  return intact() && std::any_of(readings_.begin(), readings_.end(),
                                 [this](const Reading& r) { return r.until <= redis_.now_ms() || r.there(); });
}

void ModelHub::read_on() {
  const auto it = std::find_if(readings_.begin(), readings_.end(),
                               [this](const Reading& r) { return r.until <= redis_.now_ms() || r.there(); });
  Call call = std::move(it->call);
  readings_.erase(it);
  call.carry_out();
  finish(std::move(call));
}

void ModelHub::on_publish(const std::string& to, const std::string& from, std::string_view frames) {
  if (to != caller_.key || !intact()) return;
  pushed_.emplace_back(from, std::string(frames));
}

void ModelHub::push() {
  if (nodes_seen_ != redis_.nodes_version()) {
    nodes_seen_ = redis_.nodes_version();
    due_.emplace_back([this] { events_->on_nodes_changed(); });
  }
  if (pushed_.empty()) return;
  auto [from, frames] = std::move(pushed_.front());
  pushed_.pop_front();
  due_.emplace_back([this, from = std::move(from), frames = std::move(frames)] { events_->on_datagram(from, frames); });
}

void ModelHub::lose(std::deque<Call>& calls) {
  for (Call& call : calls) {
    call.lose();
    finish(std::move(call));
  }
  calls.clear();
}

void ModelHub::break_off() {
  if (!connected_) return;
  // Redis has read some of what was on its way.
  if (intact()) carry_out(random_.below(sent_.size() + 1));
  connected_ = false;
  lose(answered_);
  lose(sent_);
  lose(unflushed_);
  std::deque<Call> reads;
  for (Reading& reading : readings_) reads.push_back(std::move(reading.call));
  readings_.clear();
  lose(reads);
  pushed_.clear();
  due_.emplace_back([this] {
    up_ = false;
    events_->on_down("the connection broke");
  });
}

std::string ModelHub::reading() const {
  std::string out;
  for (const Reading& reading : readings_) out += reading.what + ' ';
  return out;
}

bool ModelHub::idle() const {
  return unflushed_.empty() && sent_.empty() && answered_.empty() && due_.empty() && pushed_.empty() && !can_push() &&
         !can_read_on();
}

// --- calls ---

size_t ModelHub::some_piece() {
  return random_.one_in(2) ? kLargePiece : 1 + random_.below(kSmallPiece);
}

void ModelHub::run_completions() {
  for (size_t n = due_.size(); n > 0; --n) {
    const std::function<void()> next = std::move(due_.front());
    due_.pop_front();
    next();
  }
}

void ModelHub::flush() {
  while (!unflushed_.empty()) {
    sent_.push_back(std::move(unflushed_.front()));
    unflushed_.pop_front();
  }
}

template <typename T>
ModelHub::Call ModelHub::make(size_t bytes, std::function<RedisModel::Result<T>()> execute, Answer<T> done) {
  auto result = std::make_shared<RedisModel::Result<T>>(cluster::Status::lost, T{});
  Call call;
  call.bytes = bytes;
  call.carry_out = [result, execute = std::move(execute)] { *result = execute(); };
  call.lose = [result] { *result = {cluster::Status::lost, T{}}; };
  call.complete = [result, done = std::move(done)] {
    if (done) done(result->first, std::move(result->second));
  };
  return call;
}

ModelHub::Call ModelHub::make(size_t bytes, std::function<RedisModel::Status()> execute, Done done) {
  return make<bool>(
      bytes,
      [execute = std::move(execute)] {
        return RedisModel::Result<bool>{execute(), true};
      },
      [done = std::move(done)](cluster::Status status, bool) {
        if (done) done(status);
      });
}

void ModelHub::post(Call call) {
  outstanding_ += call.bytes;
  if (connected_) {
    unflushed_.push_back(std::move(call));
  } else {
    finish(std::move(call));
  }
}

void ModelHub::wait(Reading reading) {
  reading.until = redis_.now_ms() + kWaitMs;
  outstanding_ += reading.call.bytes;
  if (connected_) {
    readings_.push_back(std::move(reading));
  } else {
    finish(std::move(reading.call));
  }
}

void ModelHub::join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<Membership> done) {
  post(make<Membership>(
      name.size(), [this, name, gateway, lease_ms] { return redis_.join(name, gateway, lease_ms); },
      [this, gateway, done = std::move(done)](cluster::Status status, Membership membership) {
        if (status == cluster::Status::ok) caller_ = {membership.key, gateway};
        done(status, std::move(membership));
      }));
}

void ModelHub::renew(uint64_t lease_ms, Answer<Membership> done) {
  post(make<Membership>(
      16, [this, lease_ms, who = caller_] { return redis_.renew(who, lease_ms); }, std::move(done)));
}

void ModelHub::leave(Done done) {
  post(make(
      16, [this, who = caller_] { return redis_.leave(who); }, std::move(done)));
}

void ModelHub::send(const std::string& to, uint64_t number, std::string frames, Done done) {
  post(make(
      frames.size(), [this, to, number, frames, who = caller_] { return redis_.send(who, to, number, frames); },
      std::move(done)));
}

void ModelHub::datagram(const std::string& to, std::string_view frames) {
  if (!connected_) return;
  post(make(
      frames.size(),
      [this, to, frames = std::string(frames), who = caller_] {
        redis_.datagram(who, to, frames);
        return cluster::Status::ok;
      },
      nullptr));
}

void ModelHub::read(const std::string& inbox, uint64_t after, size_t max_bytes,
                    Answer<std::vector<cluster::Entry>> done) {
  using Entries = std::vector<cluster::Entry>;
  const auto look = [this, inbox, after, max_bytes] { return redis_.read(inbox, after, max_bytes); };
  Reading reading;
  reading.what = inbox + ':' + std::to_string(after);
  reading.there = [look] { return !look().empty(); };
  reading.call = make<Entries>(
      16,
      [look] {
        return RedisModel::Result<Entries>{cluster::Status::ok, look()};
      },
      std::move(done));
  wait(std::move(reading));
}

void ModelHub::trim(uint64_t id, Done done) {
  post(make(
      16, [this, id, who = caller_] { return redis_.trim(who, id); }, std::move(done)));
}

void ModelHub::claim(std::string_view client, uint64_t at_least, Answer<Claimed> done) {
  post(make<Claimed>(
      client.size(),
      [this, id = std::string(client), at_least, who = caller_] { return redis_.claim(who, id, at_least); },
      std::move(done)));
}

void ModelHub::hold(std::string_view client, uint64_t epoch, Answer<Held> done) {
  post(make<Held>(
      client.size(), [this, id = std::string(client), epoch, who = caller_] { return redis_.hold(who, id, epoch); },
      std::move(done)));
}

void ModelHub::withdraw(std::string_view client, uint64_t epoch, Done done) {
  post(make(
      client.size(), [this, id = std::string(client), epoch, who = caller_] { return redis_.withdraw(who, id, epoch); },
      std::move(done)));
}

void ModelHub::release(std::string_view client, uint64_t epoch, Done done) {
  post(make(
      client.size(), [this, id = std::string(client), epoch, who = caller_] { return redis_.release(who, id, epoch); },
      std::move(done)));
}

void ModelHub::holder(std::string_view client, Answer<std::string> done) {
  post(make<std::string>(
      client.size(),
      [this, id = std::string(client)] {
        return RedisModel::Result<std::string>{cluster::Status::ok, redis_.holder(id)};
      },
      std::move(done)));
}

void ModelHub::before(std::string_view client, uint64_t epoch, Answer<Claimed> done) {
  post(make<Claimed>(
      client.size(),
      [this, id = std::string(client), epoch] {
        return RedisModel::Result<Claimed>{cluster::Status::ok, redis_.before(id, epoch)};
      },
      std::move(done)));
}

void ModelHub::mine(uint32_t part, Answer<std::vector<Mine>> done) {
  post(make<std::vector<Mine>>(
      16, [this, part, who = caller_] { return redis_.mine(who, part); }, std::move(done)));
}

void ModelHub::retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) {
  post(make<uint64_t>(
      topic.size() + value.size(),
      [this, t = std::string(topic), v = std::string(value), at_least, who = caller_] {
        return redis_.retain(who, t, v, at_least);
      },
      std::move(done)));
}

void ModelHub::retain_again(const Retained& item, Answer<uint64_t> done) {
  post(make<uint64_t>(
      item.topic.size() + item.value.size(), [this, item, who = caller_] { return redis_.retain_again(who, item); },
      std::move(done)));
}

void ModelHub::changes(uint64_t after, Answer<Changes> done) {
  const auto look = [this, after] { return redis_.changes(after); };
  Reading reading;
  reading.there = [look, after] {
    const Changes changes = look();
    return after == 0 || changes.gap || !changes.items.empty();
  };
  reading.call = make<Changes>(
      16,
      [look] {
        return RedisModel::Result<Changes>{cluster::Status::ok, look()};
      },
      std::move(done));
  wait(std::move(reading));
}

void ModelHub::snapshot(uint64_t cursor, Answer<Changes> done) {
  const size_t piece = some_piece();
  post(make<Changes>(
      16,
      [this, cursor, piece] {
        return RedisModel::Result<Changes>{cluster::Status::ok, redis_.snapshot(cursor, piece)};
      },
      std::move(done)));
}

void ModelHub::begin_copy(uint32_t slot, uint64_t round, Done done) {
  post(make(
      16, [this, slot, round, who = caller_] { return redis_.begin_copy(who, slot, round); }, std::move(done)));
}

void ModelHub::copy(uint32_t slot, uint64_t round, const store::Batch& batch, Done done) {
  post(make(
      batch.bytes(), [this, slot, round, batch, who = caller_] { return redis_.copy(who, slot, round, batch); },
      std::move(done)));
}

void ModelHub::finish_copy(uint32_t slot, uint64_t round, Done done) {
  post(make(
      16, [this, slot, round, who = caller_] { return redis_.finish_copy(who, slot, round); }, std::move(done)));
}

void ModelHub::keep_copies(uint32_t slots, Done done) {
  post(make(
      16, [this, slots, who = caller_] { return redis_.keep_copies(who, slots); }, std::move(done)));
}

void ModelHub::read_copy(const std::string& node, uint64_t cursor, Answer<Records> done) {
  const size_t piece = some_piece();
  post(make<Records>(
      16,
      [this, node, cursor, piece] {
        return RedisModel::Result<Records>{cluster::Status::ok, redis_.read_copy(node, cursor, piece)};
      },
      std::move(done)));
}

void ModelHub::adopt(const std::string& node, uint64_t lease_ms, uint64_t within_ms, Answer<std::string> done) {
  post(make<std::string>(
      16, [this, node, lease_ms, within_ms, who = caller_] { return redis_.adopt(who, node, lease_ms, within_ms); },
      std::move(done)));
}

void ModelHub::bury(Done done) {
  post(make(
      16, [this, who = caller_] { return redis_.bury(who); }, std::move(done)));
}

}  // namespace sim
