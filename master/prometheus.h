// The text of `/metrics`, in Prometheus' exposition format 0.0.4. Pure.
#pragma once

#include <string>
#include <vector>

#include "master/status.h"
#include "shared/metrics/page.h"

namespace master {

// A process' page. Its counters outlive it, its gauges do not.
struct SlotPage {
  std::string worker;  // "mqtt/0"
  metrics::PageRef page;
  bool current = false;  // the process that runs now writes it
};

std::string prometheus_text(const Status& status, const std::vector<SlotPage>& pages);

}  // namespace master
