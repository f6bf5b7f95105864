#include "master/prometheus.h"

#include <string_view>
#include <utility>

namespace master {
namespace {

using metrics::Counter;
using metrics::Gauge;
using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "mqtt_master_" + std::string(name);
    out_ += "# HELP " + name_ + ' ' + std::string(help) + "\n# TYPE " + name_ + ' ' + std::string(type) + '\n';
  }
  void sample(const Labels& labels, const std::string& value) {
    out_ += name_;
    for (size_t i = 0; i < labels.size(); ++i) {
      out_ += (i == 0 ? '{' : ',') + std::string(labels[i].first) + "=\"" + escaped(labels[i].second) + '"';
    }
    out_ += (labels.empty() ? " " : "} ") + value + '\n';
  }
  void sample(const Labels& labels, uint64_t value) { sample(labels, std::to_string(value)); }
  void single(std::string_view name, std::string_view help, uint64_t value) {
    family(name, "gauge", help);
    sample({}, value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string name_;
  std::string out_;
};

// For the supervisor, not for people.
bool is_internal(Gauge gauge) {
  return gauge == Gauge::heartbeat_ms || gauge == Gauge::busy_since_ms || gauge == Gauge::incarnation;
}

void host(Text& text, const Status& status) {
  text.family("info", "gauge", "always 1; the version is its label");
  text.sample({{"version", status.version}}, 1);
  text.single("start_time_seconds", "when the master began, in seconds since the epoch",
              static_cast<uint64_t>(status.started));
  text.single("in_service", "1 if /readyz says so", status.in_service() ? 1 : 0);
  text.family("worker_resident_bytes", "gauge", "resident memory of a process");
  for (const WorkerStatus& worker : status.workers) text.sample({{"worker", worker.name}}, worker.memory);
  text.family("worker_exits_total", "counter", "processes that have ended, by how");
  for (const ExitCount& exit : status.exits) {
    text.sample({{"group", exit.group}, {"status", exit.status}}, exit.count);
  }
}

void cluster(Text& text, const ClusterStatus& cluster) {
  if (cluster.node_id.empty()) return;
  text.single("cluster_fan_out_up", "1 while messages reach the other hosts", cluster.ready ? 1 : 0);
  text.single("cluster_copied", "1 while Redis has all that this host has acknowledged", cluster.copied ? 1 : 0);
  text.family("cluster_node_lease_seconds", "gauge",
              "what is left of the lease of a host, and who takes over what it had");
  for (const NodeStatus& node : cluster.nodes) {
    const std::string tenths = std::to_string(node.lease_ms % 1000 / 100);
    text.sample({{"node", node.key}, {"adopter", node.adopter}}, std::to_string(node.lease_ms / 1000) + '.' + tenths);
  }
}

void counters(Text& text, const std::vector<SlotPage>& pages) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(Counter::kCount); ++i) {
    const auto counter = static_cast<Counter>(i);
    text.family(std::string(name(counter)) + "_total", "counter", help(counter));
    for (const SlotPage& slot : pages) text.sample({{"worker", slot.worker}}, slot.page.get(counter));
  }
}

void gauges(Text& text, const std::vector<SlotPage>& pages) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(Gauge::kCount); ++i) {
    const auto gauge = static_cast<Gauge>(i);
    if (is_internal(gauge)) continue;
    text.family(name(gauge), "gauge", help(gauge));
    for (const SlotPage& slot : pages) {
      text.sample({{"worker", slot.worker}}, slot.current ? slot.page.get(gauge) : 0);
    }
  }
}

}  // namespace

std::string prometheus_text(const Status& status, const std::vector<SlotPage>& pages) {
  Text text;
  host(text, status);
  cluster(text, status.cluster);
  counters(text, pages);
  gauges(text, pages);
  return text.take();
}

}  // namespace master
