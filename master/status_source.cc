#include "master/status_source.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "shared/config/redis_url.h"

namespace master {
namespace {

uint64_t resident_bytes(pid_t pid) {
  std::ifstream statm("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string load_average() {
  std::ifstream file("/proc/loadavg");
  std::string one;
  std::string five;
  std::string fifteen;
  file >> one >> five >> fifteen;
  return one + ", " + five + ", " + fifteen;
}

std::string store_health(uint64_t gauge) {
  constexpr const char* kNames[] = {"ok", "full", "failing"};
  return gauge < std::size(kNames) ? kNames[gauge] : "unknown";
}

std::string listening(const config::WorkerGroup& group) {
  if (group.listen.empty()) return "-";  // a guest's
  std::string text = group.listen.front().url;
  if (group.listen.size() > 1) text += " +" + std::to_string(group.listen.size() - 1);
  return text;
}

}  // namespace

StatusSource::StatusSource(const config::Config& config, const Supervisor& supervisor, const metrics::Pages& pages,
                           const base::Clock& clock)
    : config_(config),
      supervisor_(supervisor),
      pages_(pages),
      clock_(clock),
      started_(static_cast<int64_t>(clock.wall_us() / 1'000'000)),
      sampled_at_(clock.now_ms()),
      packets_(config.process_count()),
      rates_(config.process_count()) {}

void StatusSource::sample() {
  const base::MonoMs now = clock_.now_ms();
  const base::MonoMs elapsed = now - sampled_at_;
  if (elapsed < 1000) return;
  sampled_at_ = now;
  for (uint32_t slot = 0; slot < packets_.size(); ++slot) {
    const uint64_t packets = pages_.slot(slot).get(metrics::Counter::packets_received);
    rates_[slot] = (packets - packets_[slot]) * 1000 / elapsed;
    packets_[slot] = packets;
  }
}

void StatusSource::count_exit(uint32_t slot, const std::string& how) {
  const bool gateway = config_.is_gateway(slot);
  ++exits_[{gateway ? config::slot_name(config_, slot) : config::group_of_slot(config_, slot).name, how}];
}

void StatusSource::set_nodes(control::Nodes nodes) {
  nodes_ = std::move(nodes);
  nodes_at_ = clock_.now_ms();
}

// Until a new process has begun, the gauges of its page are its predecessor's.
bool StatusSource::is_current(uint32_t slot) const {
  return pages_.slot(slot).get(metrics::Gauge::incarnation) == supervisor_.incarnation(slot);
}

FanOut StatusSource::fan_out() const {
  using metrics::Gauge;
  if (!config_.clustered()) return FanOut::none;
  const uint32_t slot = config_.slot_count();
  const metrics::PageRef page = pages_.slot(slot);
  const bool speaks = supervisor_.state(slot) == SlotState::ready && is_current(slot);
  if (!speaks || page.get(Gauge::redis_up) == 0) return FanOut::redis_down;
  return page.get(Gauge::cluster_ready) == 0 ? FanOut::joining : FanOut::up;
}

bool StatusSource::copied() const {
  using metrics::Gauge;
  for (uint32_t slot = 0; slot < config_.slot_count(); ++slot) {
    const metrics::PageRef page = pages_.slot(slot);
    const bool ready = supervisor_.state(slot) == SlotState::ready && is_current(slot);
    if (!ready || page.get(Gauge::cluster_copy_whole) == 0 || page.get(Gauge::retained_unconfirmed) != 0) return false;
  }
  return true;
}

ClusterStatus StatusSource::cluster() const {
  using metrics::Counter;
  using metrics::Gauge;
  ClusterStatus status;
  if (!config_.clustered()) return status;
  const uint32_t slot = config_.slot_count();
  const FanOut now = fan_out();
  status.node_id = config_.redis.node_id;
  status.redis = config::mask_passwords(config_.redis.url);
  status.state = name(now);
  status.ready = now == FanOut::up;
  status.copied = copied();
  for (uint32_t worker = 0; worker < slot; ++worker) {
    status.unsure_sessions += pages_.slot(worker).get(Gauge::sessions_unsure);
  }
  const metrics::PageRef page = pages_.slot(slot);
  status.redis_breaks = page.get(Counter::redis_reconnects);
  status.calls_lost = page.get(Counter::redis_calls_lost);
  status.calls_refused = page.get(Counter::redis_calls_refused);
  status.dropped_qos0 = page.get(Counter::cluster_dropped_qos0);
  status.listener_breaks = page.get(Counter::redis_listener_breaks);
  status.lost_qos0 = page.get(Counter::cluster_lost_qos0);
  if (supervisor_.pid(slot) == 0) return status;
  status.lease_ms = page.get(Gauge::cluster_lease_ms);
  status.waiting_bytes = page.get(Gauge::cluster_waiting_bytes);
  status.outstanding_bytes = page.get(Gauge::redis_outstanding_bytes);
  status.redis_warnings = page.get(Gauge::redis_warnings);
  status.inbox_bytes = page.get(Gauge::cluster_inbox_bytes);
  status.missing_servers = page.get(Gauge::cluster_missing_servers);
  const uint64_t age = clock_.now_ms() - nodes_at_;
  for (const control::Node& node : nodes_.nodes) {
    status.nodes.push_back({node.key, node.remaining_ms - std::min(node.remaining_ms, age), node.adopter});
  }
  return status;
}

WorkerStatus StatusSource::worker(uint32_t slot) const {
  using metrics::Counter;
  using metrics::Gauge;
  const metrics::PageRef page = pages_.slot(slot);
  WorkerStatus status;
  status.name = config::slot_name(config_, slot);
  status.listening = config_.is_gateway(slot) ? "-" : listening(config::group_of_slot(config_, slot));
  status.state = name(supervisor_.state(slot));
  status.pid = supervisor_.pid(slot);
  status.requests = page.get(Counter::packets_received);
  if (status.pid == 0) return status;
  status.memory = resident_bytes(supervisor_.pid(slot));
  status.qps = rates_[slot];
  if (!is_current(slot)) return status;
  status.connections = page.get(Gauge::connections);
  status.clients = page.get(Gauge::clients_connected);
  status.sessions = page.get(Gauge::sessions);
  status.subscriptions = page.get(Gauge::subscriptions);
  status.store = store_health(page.get(Gauge::store_health));
  status.store_bytes = page.get(Gauge::store_size_bytes);
  status.busy = page.get(Gauge::busy_since_ms) != 0;
  if (config_.is_gateway(slot) && status.state == name(SlotState::ready) && fan_out() != FanOut::up) {
    status.state = name(fan_out());
  }
  return status;
}

Status StatusSource::collect() const {
  Status status;
  status.version = MM_VERSION;
  status.config_file = config_.file;
  status.pid = getpid();
  status.started = started_;
  status.now = static_cast<int64_t>(clock_.wall_us() / 1'000'000);
  status.load_average = load_average();
  status.groups = config_.workers.size();
  status.all_ready = supervisor_.all_ready();
  for (uint32_t slot = 0; slot < config_.process_count(); ++slot) status.workers.push_back(worker(slot));
  for (const auto& [key, count] : exits_) status.exits.push_back({key.first, key.second, count});
  status.cluster = cluster();
  return status;
}

std::vector<SlotPage> StatusSource::pages() const {
  std::vector<SlotPage> all;
  for (uint32_t slot = 0; slot < config_.process_count(); ++slot) {
    const bool current = supervisor_.pid(slot) != 0 && is_current(slot);
    all.push_back({config::slot_name(config_, slot), pages_.slot(slot), current});
  }
  return all;
}

}  // namespace master
