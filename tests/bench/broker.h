// The brokers that are compared: how each is configured, started on a free port, and stopped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/options.h"
#include "tests/bench/process.h"

namespace bench {

struct BrokerKind {
  std::string name;
  int workers = 1;

  bool operator==(const BrokerKind&) const = default;
};

// The forwarder knows exact topics and QoS 0 only; the others can all operations.
bool can_run(const BrokerKind& kind, const std::string& operation, int qos);

// What the broker says about its version, or an empty string.
std::string version_of(const std::string& broker, const Options& options);

class Broker {
 public:
  // Returns when the broker answers. Throws with the end of its log when it does not.
  Broker(const BrokerKind& kind, const Options& options);
  ~Broker();

  uint16_t port() const { return port_; }
  // All its processes, as they are when it has just started.
  const std::vector<pid_t>& pids() const { return pids_; }
  bool same_processes() const;

 private:
  void wait_until_ready(int workers, Protocol protocol);
  std::string log_end() const;

  std::filesystem::path directory_;
  uint16_t port_ = 0;
  std::unique_ptr<Process> process_;
  std::vector<pid_t> pids_;
};

}  // namespace bench
