// What one run of one operation on one broker showed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/histogram.h"

namespace bench {

struct Measurement {
  // The measured window.
  double seconds = 0;
  uint64_t delivered = 0;  // messages; connections in the operation "connect"
  double broker_cpu = 0;   // seconds
  double client_cpu = 0;   // seconds
  Histogram latency;       // of a message from publisher to subscriber; of a connection until its CONNACK

  // The whole run, warm-up and the wait for what is still on its way included.
  uint64_t published = 0;
  uint64_t lost = 0;
  uint64_t repeated = 0;    // arrived again, or behind a later one
  uint64_t disordered = 0;  // arrived where an earlier one of the same publisher was still missing
  std::string error;        // why it did not finish; empty when it did

  struct Idle {
    double pss = 0;  // bytes of all the broker's processes, for each idle connection
    double rss = 0;
  };
  std::optional<Idle> idle;

  struct Figure {
    std::string name;  // with its unit
    double value = 0;
  };
  std::vector<Figure> figures;  // of operations with several phases

  double broker_cpu_us() const { return delivered == 0 ? 0 : broker_cpu * 1e6 / static_cast<double>(delivered); }
  double per_second() const { return seconds > 0 ? static_cast<double>(delivered) / seconds : 0; }
  double client_share() const { return seconds > 0 ? client_cpu / seconds : 0; }
  // The client had no time left, so the broker might have done more.
  bool client_saturated() const { return client_share() > 0.9; }
};

}  // namespace bench
