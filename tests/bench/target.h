// What a load is carried through: where its clients connect, and whose CPU time it costs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

class Target {
 public:
  // Processes that are accounted together.
  struct Part {
    std::string name;
    std::vector<pid_t> pids;
  };

  virtual ~Target() = default;
  virtual uint16_t publisher_port() const = 0;
  virtual uint16_t subscriber_port() const = 0;
  // All processes, as they were when it had just started.
  virtual const std::vector<Part>& parts() const = 0;
  // Whether they still are the same.
  virtual bool same_processes() const = 0;
};

}  // namespace bench
