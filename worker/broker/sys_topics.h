// $SYS: what Mosquitto publishes about itself, for the whole host, plus a branch per worker. Every worker publishes its
// own branch; the host's figures come from the live worker with the lowest slot, which reads all workers' pages.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "worker/broker/core.h"

namespace broker {

class SysTopics {
 public:
  explicit SysTopics(Core& core);
  ~SysTopics();
  // After the worker is ready.
  void start();
  // Retained values may have gone with a worker: publish all again next time.
  void forget_published() { published_.clear(); }

 private:
  struct Timer : base::TimerNode {
    explicit Timer(SysTopics& o) : TimerNode(&SysTopics::on_timer), owner(o) {}
    SysTopics& owner;
  };
  // Exponentially weighted rate a minute over 1, 5 and 15 minutes, as Mosquitto's load/.
  struct Load {
    std::string_view name;
    metrics::Counter counter;
    uint64_t last = 0;
    std::array<double, 3> average{};
  };
  static void on_timer(base::TimerNode& node);
  void publish_all();
  void publish_worker();
  void publish_host();
  void publish_loads();
  bool speaks_for_host() const;
  uint64_t sum(metrics::Counter counter) const;
  uint64_t sum(metrics::Gauge gauge) const;
  void set(std::string_view topic, std::string value);
  void set(std::string_view topic, uint64_t value) { set(topic, std::to_string(value)); }

  Core& core_;
  Timer timer_;
  base::MonoMs started_ = 0;
  uint64_t most_clients_ = 0;
  bool loads_begun_ = false;
  std::array<Load, 8> loads_;
  std::unordered_map<std::string, std::string> published_;
};

}  // namespace broker
