#include "master/master.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <nlohmann/json.hpp>
#include <system_error>

#include "master/error.h"
#include "master/worker_process.h"
#include "shared/base/home.h"

namespace master {
namespace {

constexpr uint64_t kTickMs = 50;
constexpr uint64_t kEmptyMs = 2000;  // that a guest has nothing before its node is buried

uint64_t milliseconds(double seconds) {
  return static_cast<uint64_t>(seconds * 1000);
}

Policy policy_of(const config::Config& config, uint64_t last_incarnation) {
  Policy policy;
  policy.stop_timeout_ms = milliseconds(config.stop_timeout);
  policy.drain_timeout_ms = milliseconds(config.drain_timeout);
  policy.stall_timeout_ms = milliseconds(config.stall_timeout);
  policy.last_incarnation = last_incarnation;
  if (config.clustered()) policy.host_tag = base::home_of(config.redis.node_id, 1U << kHostTagBits);
  return policy;
}

std::vector<SlotInfo> slots_of(const config::Config& config) {
  std::vector<SlotInfo> slots;
  for (uint32_t group = 0; group < config.workers.size(); ++group) {
    const config::WorkerGroup& from = config.workers[group];
    slots.insert(slots.end(), from.count, {group, !from.reuse_port});
  }
  if (config.clustered()) slots.push_back({.gateway = true});
  return slots;
}

logging::Log::Options log_options(const config::Config& config, bool daemon) {
  return {static_cast<logging::Level>(config.log_level), static_cast<logging::Format>(config.log_format),
          config.log_file, !daemon, "master"};
}

// What everything else rests on, before any member that writes to these directories.
base::UniqueFd take_data_dir(const config::Config& config, const Identity& identity) {
  umask(027);
  prepare_directories(config, identity);
  return lock_directory(config.data_dir);
}

base::UniqueFd take_run_dir(const config::Config& config) {
  if (config.run_dir == config.data_dir) return {};
  return lock_directory(config.run_dir);
}

std::string how(ExitStatus status) {
  return status.signal != 0 ? "signal " + std::to_string(status.signal) : "exit " + std::to_string(status.code);
}

}  // namespace

Master::Master(config::Config config, Options options)
    : config_(std::move(config)),
      options_(std::move(options)),
      host_start_{base::boottime_ms(), clock_.wall_us()},
      identity_(resolve_identity(config_)),
      data_lock_(take_data_dir(config_, identity_)),
      run_lock_(take_run_dir(config_)),
      log_(log_options(config_, options_.daemon)),
      listeners_(config_),
      pages_fd_(metrics::Pages::create_memfd(config_.process_count())),
      pages_(pages_fd_.get(), config_.process_count()),
      incarnations_(config_.data_dir),
      supervisor_(policy_of(config_, incarnations_.highest()), slots_of(config_), clock_),
      status_(config_, supervisor_, pages_, clock_),
      guests_(config_, options_.executable, log_),
      channels_(config_.process_count()),
      tick_(loop_) {
  for (base::UniqueFd& listener : open_listeners(config_.admin.listen)) {
    admin_.push_back(std::make_unique<AdminServer>(loop_, std::move(listener),
                                                   [this](std::string_view path) { return admin_page(path); }));
  }
  prepare_stores(options_.executable, config_, identity_, data_lock_.get());
  control_.emplace(loop_, control_socket_path(config_.run_dir),
                   [this](const auto& request) { return answer(request); });
  pid_file_.emplace(config_.pid_file, getpid());
}

// Who waits for the end of our control connections may start another master at once: all that it needs is given up
// before they are closed.
Master::~Master() {
  pid_file_.reset();
  listeners_.close();
  admin_.clear();
  control_->close();
  run_lock_.reset();
  data_lock_.reset();
}

int Master::run() {
  watch_signals();
  log_.info("starting", {{"version", MM_VERSION}, {"pid", getpid()}, {"workers", config_.slot_count()}});
  act(supervisor_.start());
  tick_.start(kTickMs, kTickMs, [this] { on_tick(); });
  loop_.run();
  log_.info("stopped", {{"exit_code", exit_code_}});
  return exit_code_;
}

void Master::watch_signals() {
  const auto on = [this](int number, std::function<void()> fn) { signals_.emplace_back(loop_, number, std::move(fn)); };
  std::signal(SIGPIPE, SIG_IGN);
  on(SIGCHLD, [this] { reap(); });
  on(SIGINT, [this] { stop(false, "SIGINT"); });
  on(SIGTERM, [this] { stop(false, "SIGTERM"); });
  on(SIGQUIT, [this] { stop(true, "SIGQUIT"); });
  for (const int number : {SIGUSR1, SIGUSR2}) {
    on(number, [this] { log_.warn("reload is not in this build"); });
  }
  on(SIGHUP, [this] {
    if (!options_.daemon) return stop(false, "SIGHUP");
    log_.reopen();
    log_.info("log file opened again");
    for (uint32_t slot = 0; slot < supervisor_.slot_count(); ++slot) send(slot, control::ReopenLog{});
  });
}

void Master::stop(bool graceful, const char* why) {
  // That its node is gone the host's master hears as well, and says so.
  if (options_.guest && supervisor_.stopping()) return;
  log_.info(supervisor_.stopping() ? "stopping at once" : "stopping", {{"because", why}, {"graceful", int{graceful}}});
  act(supervisor_.on_stop(graceful));
}

// Carrying out an action may bring new ones (a spawn that fails): they come after those that wait.
void Master::act(Actions actions) {
  pending_.push_back(std::move(actions));
  if (acting_) return;
  acting_ = true;
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Actions batch = std::move(pending_[i]);
    for (const Action& action : batch) std::visit([this](const auto& a) { carry_out(a); }, action);
  }
  pending_.clear();
  acting_ = false;
}

void Master::carry_out(const Spawn& action) {
  if (supervisor_.state(action.slot) != SlotState::starting) return;  // a stop came in between
  try {
    incarnations_.reserve(action.incarnation);
    control::BootRecord record{action.slot,     action.incarnation, -1,
                               pages_fd_.get(), data_lock_.get(),   listeners_.of_slot(action.slot),
                               host_start_};
    SpawnedWorker worker = spawn_worker({options_.executable, config_, identity_, std::move(record)});
    open_channel(action.slot, std::move(worker.control));
    log_.info("worker started", {{"worker", slot_name(action.slot)}, {"pid", worker.pid}});
    act(supervisor_.on_spawned(action.slot, worker.pid));
  } catch (const std::system_error& error) {
    log_.error("cannot start a worker", {{"worker", slot_name(action.slot)}, {"error", error.what()}});
    act(supervisor_.on_exit(action.slot, {1, 0}));
  }
}

void Master::carry_out(const Kill& action) {
  kill(action.pid, action.signal);
}

void Master::carry_out(const SendPeers&) {
  const control::Peers peers = supervisor_.peers();
  for (const control::Peer& peer : peers.peers) send(peer.slot, peers);
}

void Master::carry_out(const SendStop& action) {
  send(action.slot, control::Stop{action.graceful});
}

void Master::carry_out(const SendAdopt& action) {
  log_.warn("a worker accepts for another", {{"worker", slot_name(action.by)}, {"for", slot_name(action.slot)}});
  send(action.by, control::Adopt{action.slot}, listeners_.descriptors_of_slot(action.slot));
}

void Master::carry_out(const SendUnadopt& action) {
  send(action.by, control::Unadopt{action.slot});
}

void Master::carry_out(const StartedUp&) {
  log_.info("all workers are ready");
  const FanOut fan_out = status_.fan_out();
  if (fan_out == FanOut::redis_down) log_.warn("Redis cannot be reached: this host is by itself until it can");
  if (options_.on_started) options_.on_started(fan_out);
}

void Master::carry_out(const Report& action) {
  log_.write(action.error ? logging::Level::error : logging::Level::warn, action.event,
             {{"worker", slot_name(action.slot)}, {"pid", supervisor_.pid(action.slot)}});
}

void Master::carry_out(const Exit& action) {
  exit_code_ = action.code;
  ending_ = true;
  ending_since_ms_ = clock_.now_ms();
  guests_.stop();
  end_if_alone();
}

// Guests go last: what the workers have said is on its way then.
void Master::end_if_alone() {
  const std::vector<pid_t> guests = guests_.pids();
  if (!ending_) return;
  if (clock_.now_ms() - ending_since_ms_ >= milliseconds(2 * config_.stop_timeout)) {
    for (const pid_t pid : guests) kill(pid, SIGKILL);
  }
  if (!guests.empty()) return;
  tick_.stop();
  loop_.stop();
}

void Master::open_channel(uint32_t slot, base::UniqueFd fd) {
  channels_[slot] = std::make_unique<control::Channel>(
      loop_, std::move(fd),
      control::Channel::Handler{
          [this, slot](const control::Message& message, std::vector<base::UniqueFd>) { on_message(slot, message); },
          [this, slot](const std::string& reason) {
            log_.debug("control channel closed", {{"worker", slot_name(slot)}, {"reason", reason}});
            channels_[slot].reset();
            supervisor_.on_channel_lost(slot);
          }});
}

void Master::on_message(uint32_t slot, const control::Message& message) {
  if (const auto* ready = std::get_if<control::Ready>(&message)) {
    log_.info("worker ready", {{"worker", slot_name(slot)}, {"pid", supervisor_.pid(slot)}});
    act(supervisor_.on_ready(slot, ready->incarnation));
  }
  if (const auto* nodes = std::get_if<control::Nodes>(&message)) {
    status_.set_nodes(*nodes);
    guests_.set_nodes(*nodes, clock_.now_ms());
  }
  if (std::holds_alternative<control::Buried>(message)) stop(false, "nothing is left of this node");
}

AdminPage Master::admin_page(std::string_view path) const {
  constexpr const char* kText = "text/plain; charset=utf-8";
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", prometheus_text(status_.collect(), status_.pages())};
  }
  if (path == "/healthz") return {200, kText, "ok\n"};
  if (path == "/readyz") {
    const Status status = status_.collect();
    if (status.in_service()) return {200, kText, "ready\n"};
    return {503, kText, "not ready\n" + status.not_in_service()};
  }
  return {404, kText, "there are /metrics, /healthz and /readyz\n"};
}

void Master::send(uint32_t slot, const control::Message& message, std::span<const int> descriptors) {
  if (channels_[slot]) channels_[slot]->send(message, descriptors);
}

void Master::reap() {
  for (uint32_t slot = 0; slot < supervisor_.slot_count(); ++slot) {
    const pid_t pid = supervisor_.pid(slot);
    int raw = 0;
    if (pid == 0 || waitpid(pid, &raw, WNOHANG) != pid) continue;
    const ExitStatus status{WIFEXITED(raw) ? WEXITSTATUS(raw) : 0, WIFSIGNALED(raw) ? WTERMSIG(raw) : 0};
    const bool expected = supervisor_.stopping() && status.code == 0 && status.signal == 0;
    const bool fenced = is_fenced(status);
    log_.write(expected ? logging::Level::info : logging::Level::warn, fenced ? "gateway fenced" : "worker ended",
               {{"worker", slot_name(slot)}, {"pid", pid}, {"status", how(status)}});
    if (!expected && !fenced) status_.count_exit(slot, how(status));
    channels_[slot].reset();
    if (config_.is_gateway(slot)) status_.set_nodes({});
    act(supervisor_.on_exit(slot, status));
  }
  for (const pid_t pid : guests_.pids()) {
    int raw = 0;
    if (waitpid(pid, &raw, WNOHANG) != pid) continue;
    const ExitStatus status{WIFEXITED(raw) ? WEXITSTATUS(raw) : 0, WIFSIGNALED(raw) ? WTERMSIG(raw) : 0};
    guests_.on_exit(pid, how(status), clock_.now_ms());
  }
  end_if_alone();
}

void Master::on_tick() {
  std::vector<Heartbeat> heartbeats;
  for (uint32_t slot = 0; slot < supervisor_.slot_count(); ++slot) {
    const metrics::PageRef page = pages_.slot(slot);
    heartbeats.push_back({page.get(metrics::Gauge::incarnation), page.get(metrics::Gauge::heartbeat_ms),
                          page.get(metrics::Gauge::loading) != 0});
  }
  status_.sample();
  act(supervisor_.on_tick(heartbeats));
  guests_.on_tick(clock_.now_ms());
  if (options_.guest) bury_if_empty();
  end_if_alone();
}

void Master::bury_if_empty() {
  using metrics::Gauge;
  const uint32_t gateway = config_.slot_count();
  const metrics::PageRef page = pages_.slot(gateway);
  bool empty = status_.fan_out() == FanOut::up && page.get(Gauge::cluster_waiting_bytes) == 0 &&
               page.get(Gauge::cluster_inbox_bytes) == 0;
  for (uint32_t slot = 0; slot < gateway; ++slot) {
    empty = empty && supervisor_.state(slot) == SlotState::ready && pages_.slot(slot).get(Gauge::sessions) == 0;
  }
  const uint64_t now = clock_.now_ms();
  if (!empty || supervisor_.stopping()) {
    empty_since_ms_ = 0;
  } else if (empty_since_ms_ == 0) {
    empty_since_ms_ = now;
  } else if (now - empty_since_ms_ >= kEmptyMs) {
    empty_since_ms_ = now;
    send(gateway, control::Bury{});
  }
}

std::string Master::answer(const std::string& request) {
  const auto json = nlohmann::json::parse(request, nullptr, false);
  const std::string command = json.is_object() ? json.value("command", "") : "";
  if (command == "status") return to_json(status_.collect());
  if (command == "stop") {
    stop(json.value("graceful", false), "the stop command");
    return R"({"ok":true})";
  }
  return R"({"error":"unknown command"})";
}

}  // namespace master
