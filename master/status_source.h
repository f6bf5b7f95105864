// Gathers what `status` shows from the metrics pages and /proc.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "master/prometheus.h"
#include "master/status.h"
#include "master/supervisor.h"
#include "shared/config/config.h"
#include "shared/control/messages.h"
#include "shared/metrics/page.h"

namespace master {

class StatusSource {
 public:
  StatusSource(const config::Config& config, const Supervisor& supervisor, const metrics::Pages& pages,
               const base::Clock& clock);

  // To be called regularly; measures the rates once a second.
  void sample();
  void count_exit(uint32_t slot, const std::string& how);
  // What the gateway says, until it says something else or has gone.
  void set_nodes(control::Nodes nodes);
  FanOut fan_out() const;
  Status collect() const;
  std::vector<SlotPage> pages() const;

 private:
  WorkerStatus worker(uint32_t slot) const;
  bool is_current(uint32_t slot) const;
  bool copied() const;
  ClusterStatus cluster() const;

  const config::Config& config_;
  const Supervisor& supervisor_;
  const metrics::Pages& pages_;
  const base::Clock& clock_;
  int64_t started_;
  base::MonoMs sampled_at_;
  std::vector<uint64_t> packets_;                                  // by slot, at the last sample
  std::vector<uint64_t> rates_;                                    // by slot, a second
  std::map<std::pair<std::string, std::string>, uint64_t> exits_;  // (group, how) -> how often
  control::Nodes nodes_;
  base::MonoMs nodes_at_ = 0;  // when they were told
};

}  // namespace master
