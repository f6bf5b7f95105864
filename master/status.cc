#include "master/status.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "master/table.h"

namespace master {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(WorkerStatus, name, listening, state, pid, memory, connections, requests, qps,
                                   clients, sessions, subscriptions, busy, store, store_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ExitCount, group, status, count)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NodeStatus, key, lease_ms, adopter)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ClusterStatus, node_id, redis, state, ready, copied, lease_ms, waiting_bytes,
                                   outstanding_bytes, missing_servers, unsure_sessions, redis_warnings, inbox_bytes,
                                   redis_breaks, calls_lost, calls_refused, dropped_qos0, listener_breaks, lost_qos0,
                                   nodes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Status, version, config_file, pid, started, now, load_average, groups, all_ready,
                                   workers, exits, cluster)

namespace {

std::string local_time(int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  tm local{};
  localtime_r(&time, &local);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local)};
}

std::string run_time(int64_t seconds) {
  const int64_t days = seconds / 86400;
  const int64_t hours = seconds % 86400 / 3600;
  const int64_t minutes = seconds % 3600 / 60;
  return std::to_string(days) + " days " + std::to_string(hours) + " hours " + std::to_string(minutes) + " minutes";
}

std::string state_text(const WorkerStatus& worker) {
  if (worker.state != "ready") return '[' + worker.state + ']';
  if (worker.store != "ok") return "[store " + worker.store + ']';
  return worker.busy ? "[busy]" : "[idle]";
}

Row process_row(const WorkerStatus& worker) {
  return {worker.pid == 0 ? "-" : std::to_string(worker.pid),
          human_bytes(worker.memory),
          worker.listening,
          worker.name,
          std::to_string(worker.connections),
          std::to_string(worker.clients),
          std::to_string(worker.sessions),
          std::to_string(worker.subscriptions),
          std::to_string(worker.requests),
          std::to_string(worker.qps),
          state_text(worker)};
}

WorkerStatus summary_of(const std::vector<WorkerStatus>& workers) {
  WorkerStatus sum;
  for (const WorkerStatus& worker : workers) {
    sum.memory += worker.memory;
    sum.connections += worker.connections;
    sum.requests += worker.requests;
    sum.qps += worker.qps;
    sum.clients += worker.clients;
    sum.sessions += worker.sessions;
    sum.subscriptions += worker.subscriptions;
  }
  return sum;
}

std::string global_rows(const Status& status) {
  std::vector<Row> rows = {
      {"mqtt-master version:" + status.version, "pid:" + std::to_string(status.pid)},
      {"start time:" + local_time(status.started), "run " + run_time(status.now - status.started)},
      {"load average: " + status.load_average,
       "config:" + (status.config_file.empty() ? "defaults" : status.config_file)},
      {std::to_string(status.groups) + " workers", std::to_string(status.workers.size()) + " processes"}};
  std::string out = align(rows);
  rows = {{"worker_name", "exit_status", "exit_count"}};
  for (const ExitCount& exit : status.exits) rows.push_back({exit.group, exit.status, std::to_string(exit.count)});
  if (status.exits.empty()) rows.push_back({"-", "-", "0"});
  return out + align(rows);
}

std::string seconds(uint64_t ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1fs", static_cast<double>(ms) / 1000);
  return text;
}

std::string cluster_tables(const ClusterStatus& cluster) {
  std::vector<Row> rows = {
      {"node:" + cluster.node_id, "fan-out:" + cluster.state, "lease:" + seconds(cluster.lease_ms),
       std::string("copied:") + (cluster.copied ? "yes" : "no")},
      {"waiting:" + human_bytes(cluster.waiting_bytes), "unanswered:" + human_bytes(cluster.outstanding_bytes),
       "received:" + human_bytes(cluster.inbox_bytes), "redis:" + cluster.redis}};
  if (cluster.missing_servers != 0)
    rows[0].push_back("inbox servers missing:" + std::to_string(cluster.missing_servers));
  if (cluster.unsure_sessions != 0) rows[0].push_back("unsure sessions:" + std::to_string(cluster.unsure_sessions));
  std::string out = align(rows);
  rows = {{"redis breaks:" + std::to_string(cluster.redis_breaks), "lost calls:" + std::to_string(cluster.calls_lost),
           "refused calls:" + std::to_string(cluster.calls_refused),
           "dropped QoS 0:" + std::to_string(cluster.dropped_qos0), "lost QoS 0:" + std::to_string(cluster.lost_qos0),
           "warnings:" + std::to_string(cluster.redis_warnings)}};
  out += align(rows);
  rows = {{"node", "lease", "adopted_by"}};
  for (const NodeStatus& node : cluster.nodes) {
    rows.push_back({node.key, seconds(node.lease_ms), node.adopter.empty() ? "-" : node.adopter});
  }
  if (cluster.nodes.empty()) rows.push_back({"-", "-", "-"});
  return out + align(rows);
}

}  // namespace

std::string Status::not_in_service() const {
  std::string why;
  for (const WorkerStatus& worker : workers) {
    if (worker.state != "ready") why += worker.name + ": " + worker.state + '\n';
  }
  if (why.empty() && all_ready && !in_service()) why = "fan-out: " + cluster.state + '\n';
  return why;
}

std::string to_json(const Status& status) {
  return nlohmann::json(status).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Status status_from_json(const std::string& text) {
  return nlohmann::json::parse(text).get<Status>();
}

std::string status_tables(const Status& status) {
  std::vector<Row> rows = {{"pid", "memory", "listening", "name", "connections", "clients", "sessions", "subscriptions",
                            "total_request", "qps", "status"}};
  for (const WorkerStatus& worker : status.workers) rows.push_back(process_row(worker));
  Row summary = process_row(summary_of(status.workers));
  summary.front() = "Summary";
  summary[2] = summary[3] = "-";
  summary.back() = "[Summary]";
  rows.push_back(std::move(summary));

  const std::string table = align(rows);
  const size_t width = std::max<size_t>(table.find('\n'), 60);
  const size_t last = table.rfind('\n', table.size() - 2) + 1;
  const std::string cluster =
      status.cluster.node_id.empty() ? "" : rule("CLUSTER", width) + cluster_tables(status.cluster);
  return rule("GLOBAL STATUS", width) + global_rows(status) + cluster + rule("PROCESS STATUS", width) +
         table.substr(0, last) + rule("PROCESS STATUS", width) + table.substr(last);
}

std::string_view name(FanOut fan_out) {
  switch (fan_out) {
    case FanOut::none:
      return "none";
    case FanOut::redis_down:
      return "redis down";
    case FanOut::joining:
      return "joining";
    case FanOut::up:
      return "up";
  }
  return "";
}

std::string human_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "K", "M", "G", "T"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.1f%s", value, kUnits[unit]);
  return text;
}

}  // namespace master
