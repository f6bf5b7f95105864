// The brokers that are compared: how each is configured, started on a free port, and stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/launch.h"
#include "tests/bench/options.h"
#include "tests/bench/process.h"
#include "tests/bench/target.h"

namespace bench {

struct BrokerKind {
  std::string name;
  int workers = 1;
  std::string store = "";  // how it stores, in operations that need that: store.sync; "autosave" of mosquitto

  bool operator==(const BrokerKind&) const = default;
};

// The forwarder knows exact topics and QoS 0 only; aedes is for the operations between hosts, which mqtt-master can do
// as well.
bool can_run(const BrokerKind& kind, const std::string& operation, int qos);

// What "autosave" is, for the reader of a result.
inline constexpr const char* kAutosave =
    "persistence true, autosave_interval 1800, autosave_on_changes false: mosquitto stores every 30 minutes and when "
    "it "
    "is stopped; it acknowledges before";

// What the broker says about its version, or an empty string.
std::string version_of(const std::string& broker, const Options& options);

// Connections until every worker has had one: the kernel spreads them by hash.
int probes(const BrokerKind& kind);

nlohmann::json mqtt_master_config(uint16_t port, const BrokerKind& kind, const Options& options);

class Broker : public Target {
 public:
  // Returns when the broker answers. Throws with the end of its log when it does not.
  Broker(const BrokerKind& kind, const Options& options);

  uint16_t port() const { return port_; }
  uint16_t publisher_port() const override { return port_; }
  uint16_t subscriber_port() const override { return port_; }
  // All its processes, as they are when it has just started.
  const std::vector<pid_t>& pids() const { return parts_[0].pids; }
  const std::vector<Part>& parts() const override { return parts_; }
  bool same_processes() const override;

  struct Restart {
    double stop_seconds = 0;   // until its last process was gone
    double start_seconds = 0;  // from then until it answered
  };
  // In the same directory, on the same port. With SIGKILL if `kill`.
  Restart restart(bool kill);

 private:
  void start();

  const int probes_;
  const Protocol protocol_;
  Directory directory_;
  uint16_t port_ = 0;
  std::vector<std::string> command_;
  std::unique_ptr<Process> process_;
  std::vector<Part> parts_;  // one
};

}  // namespace bench
