#include "worker/worker.h"

#include <algorithm>
#include <csignal>
#include <stdexcept>
#include <utility>
#include <variant>

#include "shared/base/check.h"
#include "worker/log_sink.h"

namespace worker {
namespace {

using metrics::Gauge;

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

broker::PeerId id_of(const net::Peer& peer) {
  return {peer.slot, peer.incarnation};
}

// A worker that starts has the counters of those before it, but not their gauges.
metrics::PageRef fresh_page(const metrics::Pages& pages, const control::Boot& boot, uint64_t now) {
  const metrics::PageRef page = pages.slot(boot.slot);
  for (uint32_t i = 0; i < static_cast<uint32_t>(Gauge::kCount); ++i) page.set(static_cast<Gauge>(i), 0);
  page.set(Gauge::incarnation, boot.incarnation);
  page.set(Gauge::heartbeat_ms, now);
  page.set(Gauge::loading, 1);
  return page;
}

std::vector<base::UniqueFd> take_sockets(control::Boot& boot) {
  std::vector<base::UniqueFd> sockets;
  for (control::ListeningSocket& listener : boot.listeners) sockets.push_back(std::move(listener.fd));
  return sockets;
}

}  // namespace

Worker::Worker(control::Boot boot, logging::Log& log)
    : boot_(std::move(boot)),
      log_(log),
      random_(base::entropy()),
      pages_(boot_.metrics.get(), boot_.config.process_count()),
      page_(fresh_page(pages_, boot_, clock_.now_ms())),
      context_(loop_, pool_, page_, log_),
      wake_(loop_, [] {}),
      store_(open_store()),
      null_store_([this] { wake_.send(); }),
      hub_(open_hub()),
      lease_file_(boot_.config.data_dir),
      connections_(context_, [this](connection::ClientTransport& transport) { return broker_.open_client(transport); }),
      broker_(environment()),
      bus_(context_, {boot_.slot, boot_.incarnation}, boot_.config.run_dir + "/bus", *this),
      listeners_(make_listeners(boot_.slot, take_sockets(boot_))),
      channel_(loop_, std::move(boot_.control),
               {.on_message = [this](const control::Message& message,
                                     std::vector<base::UniqueFd> fds) { on_message(message, std::move(fds)); },
                .on_closed =
                    [this](const std::string& reason) {
                      log_.warn("the master is gone", {{"reason", reason}});
                      finish(1);
                    }}),
      terminate_(loop_, SIGTERM, [this] { on_terminate(); }),
      tick_(loop_),
      drain_(loop_),
      check_(loop_),
      prepare_(loop_),
      again_(loop_) {
  broker_.load();
}

Worker::~Worker() = default;

// The store is opened before anything that a client could see. Its completions are called in the turn that it wakes.
std::unique_ptr<store::RocksStore> Worker::open_store() {
  if (is_gateway()) return nullptr;
  const config::Store& store = boot_.config.store;
  const uint32_t slots = boot_.config.slot_count();
  store::RocksStore::Options options;
  options.path = store::slot_directory(boot_.config.data_dir, boot_.slot);
  options.layout = {boot_.slot, slots};
  options.sync =
      store.sync == config::StoreSync::always ? store::RocksStore::Sync::always : store::RocksStore::Sync::process;
  options.max_size = store.max_size / slots;
  options.wake = [this] { wake_.send(); };
  options.progress = [this] { page_.set(Gauge::heartbeat_ms, clock_.now_ms()); };
  return std::make_unique<store::RocksStore>(std::move(options));
}

store::Store& Worker::store() {
  if (store_) return *store_;
  return null_store_;
}

// Its completions are called in the turn that it wakes, like the store's.
std::unique_ptr<redis::RedisHub> Worker::open_hub() {
  if (!is_gateway()) return nullptr;
  redis::RedisHub::Options options;
  std::string error;
  if (!redis::RedisHub::options_of(boot_.config.redis, options, error)) throw std::runtime_error(error);
  options.client_name = "mqtt-master:" + boot_.config.redis.node_id;
  // A guest is known by its adopter, whose it is.
  if (!boot_.config.is_guest()) options.host = cluster::host_identity(boot_.config.data_dir);
  options.wake = [this] { wake_.send(); };
  options.log = &log_;
  return std::make_unique<redis::RedisHub>(loop_, std::move(options));
}

broker::Environment Worker::environment() {
  broker::Environment e;
  e.config = &boot_.config;
  e.slot = boot_.slot;
  e.incarnation = boot_.incarnation;
  e.clock = &clock_;
  e.random = &random_;
  e.pool = &pool_;
  e.store = &store();
  e.hub = hub_.get();
  e.page = page_;
  e.page_of = [this](uint32_t slot) { return pages_.slot(slot); };
  e.log = make_log_sink(log_);
  e.log_level = static_cast<int>(boot_.config.log_level);
  e.flush_link = [this](uint32_t slot, bus::Link& link) { bus_.flush(slot, link); };
  e.on_ready = [this] { on_ready(); };
  e.on_fenced = [this] { finish(stopping_ ? 0 : control::kExitFenced); };
  e.on_nodes = [this](const cluster::Membership& membership, bool calm) { tell_nodes(membership, calm); };
  e.adopts = is_gateway() && !boot_.config.is_guest();
  e.on_buried = [this] { channel_.send(control::Buried{}); };
  e.on_lease = [this](uint64_t ms) { note_lease(ms); };
  // A replaced process finds what the gateway has noted since its host began.
  if (!lease_file_.ran_at(boot_.host_start.boottime_ms)) e.unsure_until_us = boot_.host_start.wall_us;
  return e;
}

int Worker::run() {
  page_.set(Gauge::loading, 0);
  tick_.start(kTickMs, kTickMs, [this] {
    report_store();
    report_hub();
  });
  check_.start([this] { end_turn(); });
  prepare_.start([this] { before_wait(); });
  log_.info("worker started", {{"incarnation", boot_.incarnation}});
  loop_.run();
  log_.info("worker stopped", {{"exit_code", exit_code_}});
  return exit_code_;
}

void Worker::on_ready() {
  if (stopping_) return;
  start(listeners_);
  for (auto& [slot, listeners] : adopted_) start(listeners);
  page_.set(Gauge::ready, 1);
  channel_.send(control::Ready{boot_.incarnation});
  log_.info("worker ready", {{"listeners", listeners_.size()}});
}

void Worker::tell_nodes(const cluster::Membership& membership, bool calm) {
  control::Nodes message{membership.key, calm, {}};
  for (const cluster::Node& node : membership.nodes) {
    message.nodes.push_back({node.key, node.remaining_ms, node.adopter});
  }
  channel_.send(message);
}

void Worker::note_lease(uint64_t ms) {
  const bool noted = lease_file_.note(base::boottime_ms() + ms);
  if (!noted && lease_noted_) log_.warn("the lease cannot be noted in the data directory", {});
  lease_noted_ = noted;
}

void Worker::report_store() {
  if (!store_) return;
  const store::RocksStore::Statistics now = store_->statistics();
  page_.add(metrics::Counter::store_commits, now.commits - store_reported_.commits);
  page_.add(metrics::Counter::store_writes, now.writes - store_reported_.writes);
  page_.add(metrics::Counter::store_written_bytes, now.written_bytes - store_reported_.written_bytes);
  store_reported_ = now;
  const store::Health health = store_->health();
  page_.set(Gauge::store_health, static_cast<uint64_t>(health));
  page_.set(Gauge::store_pending_bytes, now.pending_bytes);
  page_.set(Gauge::store_size_bytes, now.size);
  if (health == store_health_) return;
  store_health_ = health;
  if (health == store::Health::ok) return log_.info("the store works again");
  log_.error(health == store::Health::full ? "the store is full" : "writing to the store fails",
             {{"error", store_->trouble()}});
}

void Worker::report_hub() {
  if (!hub_) return;
  const redis::RedisHub::Statistics& now = hub_->statistics();
  page_.add(metrics::Counter::redis_reconnects, now.breaks - hub_reported_.breaks);
  page_.add(metrics::Counter::redis_listener_breaks, now.listener_breaks - hub_reported_.listener_breaks);
  page_.add(metrics::Counter::redis_calls_lost, now.calls.lost - hub_reported_.calls.lost);
  page_.add(metrics::Counter::redis_calls_refused, now.calls.refused - hub_reported_.calls.refused);
  report_refusals(now.calls);
  hub_reported_ = now;
  page_.set(Gauge::redis_up, hub_->up() ? 1 : 0);
  page_.set(Gauge::redis_outstanding_bytes, hub_->outstanding());
}

// Refusals come by the hundred (out of memory, a disk that is full): their beginning and their end are told.
void Worker::report_refusals(const redis::RedisCalls::Counts& now) {
  const uint64_t now_ms = clock_.now_ms();
  if (now.errors != hub_reported_.calls.errors) {
    if (refusing_since_ms_ == 0 || now.last_error != hub_reported_.calls.last_error) {
      log_.error("redis refuses calls: what is for other hosts waits", {{"error", now.last_error}});
    }
    refusing_since_ms_ = now_ms;
  } else if (refusing_since_ms_ != 0 && now_ms - refusing_since_ms_ >= kRefusalsOverMs) {
    refusing_since_ms_ = 0;
    log_.info("redis refuses nothing any more");
  }
}

// --- turns ---

void Worker::end_turn() {
  context_.begin_work();
  broker_.advance();
  for (int round = 0; round < kMaxRounds; ++round) {
    broker_.end_of_turn();
    if (!connections_.flush()) break;
  }
  connections_.reap();
  bus_.reap();
  page_.set(Gauge::heartbeat_ms, loop_.now_ms());
  const bool drained = connections_.size() == 0 && bus_.drained() && !store().pending();
  if (stopping_ && !finished_ && (drained || loop_.now_ms() >= stop_deadline_)) {
    channel_.send(control::Stopping{});
    finish(0);
  }
  if (connections_.pending() || broker_.more_work()) {
    if (!again_.active()) again_.start([] {});
  } else if (again_.active()) {
    again_.stop();
  }
  context_.end_work();
}

void Worker::before_wait() {
  // Timers run between the end of a turn and the wait; what they began must not lie until something happens.
  if (context_.working()) end_turn();
}

// --- the master ---

void Worker::on_message(const control::Message& message, std::vector<base::UniqueFd> descriptors) {
  context_.begin_work();
  std::visit(Overloaded{
                 [&](const control::Peers& peers) { on_peers(peers); },
                 [&](const control::Stop& stop) { begin_stop(stop.graceful); },
                 [&](const control::Adopt& request) { adopt(request.slot, std::move(descriptors)); },
                 [&](const control::Unadopt& request) { adopted_.erase(request.slot); },
                 [&](const control::ReopenLog&) { log_.reopen(); },
                 [](const control::Ready&) {},
                 [](const control::Stopping&) {},
                 [](const control::Nodes&) {},
                 [&](const control::Bury&) { broker_.bury(); },
                 [](const control::Buried&) {},
             },
             message);
}

// A signal to the whole process group is for the workers: the gateway carries their last words, so it waits until the
// master says that they have gone.
void Worker::on_terminate() {
  if (!is_gateway() || !broker_.ready()) begin_stop(false);
}

void Worker::on_peers(const control::Peers& peers) {
  std::vector<broker::PeerId> live;
  for (const control::Peer& peer : peers.peers) live.push_back(id_of(peer));
  broker_.set_peers(live);
  bus_.set_peers(peers.peers);
}

void Worker::adopt(uint32_t slot, std::vector<base::UniqueFd> descriptors) {
  if (stopping_ || is_gateway() || slot >= boot_.config.slot_count()) return;
  Listeners& listeners = adopted_[slot] = make_listeners(slot, std::move(descriptors));
  if (broker_.ready()) start(listeners);
  log_.info("accepting for another slot", {{"slot", config::slot_name(boot_.config, slot)}});
}

void Worker::begin_stop(bool graceful) {
  if (stopping_) return;
  context_.begin_work();
  stopping_ = true;
  page_.set(Gauge::ready, 0);
  listeners_.clear();
  adopted_.clear();
  if (graceful) {
    stop_deadline_ = loop_.now_ms() + static_cast<uint64_t>(boot_.config.drain_timeout * 1000);
    drain_.start(0, kDrainTickMs, [this] { drain(); });
  } else {
    stop_deadline_ = loop_.now_ms() + kStopMs;
    broker_.shut_down();
  }
}

void Worker::drain() {
  context_.begin_work();
  const uint64_t share = boot_.config.drain_rate * kDrainTickMs / 1000 / boot_.config.slot_count();
  broker_.drain(std::max<uint64_t>(1, share));
}

void Worker::finish(int exit_code) {
  if (finished_) return;
  finished_ = true;
  exit_code_ = exit_code;
  loop_.stop();
}

// --- listeners ---

Worker::Listeners Worker::make_listeners(uint32_t slot, std::vector<base::UniqueFd> descriptors) {
  Listeners listeners;
  if (boot_.config.is_gateway(slot)) return listeners;
  const std::vector<config::Listen>& listen = config::group_of_slot(boot_.config, slot).listen;
  for (base::UniqueFd& fd : descriptors) {
    const size_t i = listeners.size();
    listeners.push_back(std::make_unique<net::Listener>(
        context_, std::move(fd), i < listen.size() ? listen[i].url : std::string(), quota_of(slot), connections_));
  }
  return listeners;
}

net::Quota& Worker::quota_of(uint32_t slot) {
  const config::WorkerGroup& group = config::group_of_slot(boot_.config, slot);
  net::Quota& quota = quotas_[group.name];
  quota.limit = group.context.max_connections;
  return quota;
}

void Worker::start(Listeners& listeners) {
  for (const auto& listener : listeners) listener->start();
}

// --- the broker's side of the bus ---

bus::Link* Worker::link(const net::Peer& peer) {
  return broker_.link(id_of(peer));
}
bool Worker::peer_connected(const net::Peer& peer, uint64_t peer_received) {
  return broker_.peer_connected(id_of(peer), peer_received);
}
void Worker::peer_disconnected(const net::Peer& peer) {
  broker_.peer_disconnected(id_of(peer));
}
bool Worker::peer_bytes(const net::Peer& peer, std::string_view bytes) {
  return broker_.peer_bytes(id_of(peer), bytes);
}
void Worker::peer_gone(const net::Peer& peer) {
  broker_.peer_gone(id_of(peer));
}
void Worker::peer_progress(const net::Peer& peer) {
  broker_.peer_progress(id_of(peer));
}

}  // namespace worker
