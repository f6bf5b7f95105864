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
  std::string store = "";  // how it stores, in operations that need that: store.sync; "autosave" of mosquitto

  bool operator==(const BrokerKind&) const = default;
};

// The forwarder knows exact topics and QoS 0 only; the others can all operations.
bool can_run(const BrokerKind& kind, const std::string& operation, int qos);

// What "autosave" is, for the reader of a result.
inline constexpr const char* kAutosave =
    "persistence true, autosave_interval 1800, autosave_on_changes false: mosquitto stores every 30 minutes and when "
    "it "
    "is stopped; it acknowledges before";

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

  struct Restart {
    double stop_seconds = 0;   // until its last process was gone
    double start_seconds = 0;  // from then until it answered
  };
  // In the same directory, on the same port. With SIGKILL if `kill`.
  Restart restart(bool kill);

 private:
  void wait_until_ready();
  std::string log_end() const;

  const int workers_;
  const Protocol protocol_;
  std::filesystem::path directory_;
  uint16_t port_ = 0;
  std::vector<std::string> command_;
  std::unique_ptr<Process> process_;
  std::vector<pid_t> pids_;
};

}  // namespace bench
