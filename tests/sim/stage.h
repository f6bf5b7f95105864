// The vocabulary of the scenarios: clients by name, workers by slot (in a cluster by their place among those of all
// hosts), faults as one-liners.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/simulation.h"

namespace sim {

class Stage {
 public:
  // Waits until all workers are ready.
  explicit Stage(Simulation& simulation);

  // A new client (made at its first mention), connected and subscribed.
  Identity& join(const std::string& name, uint64_t slot, const std::vector<std::string>& filters = {},
                 bool persistent = true);
  Identity& operator[](const std::string& name);
  // Another connection, not waited for.
  void connect(const std::string& name, uint64_t slot);
  // One message of each QoS, if it is connected.
  void publish_all(const std::string& name, const std::string& topic);

  void kill(uint64_t slot);
  void stop(uint64_t slot);
  // Nothing that this one stores reaches its disk before it dies.
  void hang_disk(uint64_t slot);
  void cut(uint64_t a, uint64_t b);
  // The connection of a host's gateway to Redis breaks.
  void cut_hub(uint64_t host);
  // Whether `reader` reads what `writer` wrote to it.
  void hold(uint64_t writer, uint64_t reader, bool held);
  // `mourner` learns of the death of `dying`, which is alive yet, only that many steps from now.
  void delay_news(uint64_t dying, uint64_t mourner, uint64_t steps);

 private:
  Wire* wire(uint64_t a, uint64_t b, uint32_t& side_of_a);

  Simulation& s_;
  std::map<std::string, Identity*> clients_;
};

}  // namespace sim
