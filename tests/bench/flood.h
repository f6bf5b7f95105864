// Publishes many messages of QoS 1, each with a topic of its own choice, as fast as they are acknowledged.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/bench/broker.h"

namespace bench {

struct FloodMessage {
  std::string topic;
  uint32_t publisher = 0;  // both go into its stamp
  uint32_t sequence = 0;
};

struct FloodResult {
  double seconds = 0;
  double broker_cpu = 0;  // seconds
  double client_cpu = 0;  // seconds
};

// Returns when all of them are acknowledged. Message i is made by `make(i)`; those of one remainder of i by kPublishers
// go out through one connection, in order. Throws when the broker refuses one or does not answer.
inline constexpr uint64_t kPublishers = 10;
FloodResult flood(const Options& options, const Broker& broker, uint64_t messages, bool retain,
                  const std::function<FloodMessage(uint64_t)>& make);

}  // namespace bench
