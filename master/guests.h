// Dead hosts of the cluster that go on here. Their copies in Redis are what a restart of them would have found on its
// disk, so that is what is done: each guest is a master of its own with a worker for each of its slots and a gateway,
// without listeners. The others find it under the node's key, as if the host had been started again; clients that come
// back take their sessions from it to where they are. When it has nothing left its node is buried, and it ends.
//
//   gateway: hub.adopt(B) ──nodes──> master: adopter is us ──exec──> mqtt-master --guest: copies -> DATA_DIR/store
//                                                                         └─> workers, gateway that joins as B
//
// Which guests there are is what Redis says: a guest that is not ours any more is stopped, and its directory removed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shared/config/config.h"
#include "shared/control/messages.h"
#include "shared/log/log.h"

namespace master {

// A guest's configuration: that of its host, but for its name in the cluster, its directories and its workers.
config::Config guest_config(const config::Config& host, const std::string& name);
// Under which name the node joins at the host that has adopted it; empty: not ours. See Hub::adopt().
std::string guest_name(const control::Node& node, std::string_view self);

class Guests {
 public:
  Guests(const config::Config& config, std::string executable, logging::Log& log);

  void set_nodes(const control::Nodes& nodes, uint64_t now_ms);
  // A child has ended. False: it is not a guest.
  bool on_exit(pid_t pid, const std::string& how, uint64_t now_ms);
  void on_tick(uint64_t now_ms);
  // Ends them; none is begun any more.
  void stop();
  // Those that run.
  std::vector<pid_t> pids() const;

 private:
  static constexpr uint64_t kPauseMs = 500;  // before one that has ended is started again; doubles
  static constexpr uint64_t kLongestPauseMs = 30'000;
  static constexpr uint64_t kSteadyMs = 60'000;

  struct Guest {
    std::string name;
    std::string node;  // the key it goes on with
    config::Config config;
    bool wanted = true;
    pid_t pid = 0;
    uint64_t started_ms = 0;
    uint64_t start_at_ms = 0;
    uint64_t pause_ms = kPauseMs;
  };
  Guest* find(const std::string& name);
  void find_left_over();
  void start(Guest& guest, uint64_t now_ms);
  void remove(const Guest& guest);

  const config::Config& config_;
  const std::string executable_;
  logging::Log& log_;
  bool stopping_ = false;
  std::vector<Guest> guests_;
};

// `mqtt-master --guest CONFIG_FILE NODE`: the master of a guest. Its exit code.
int guest_main(const std::string& config_file, const std::string& node);
inline constexpr const char* kGuest = "--guest";
// `mqtt-master --restore CONFIG_FILE NODE`: makes the stores of a guest of its node's copies. Its exit code.
int restore_main(const std::string& config_file, const std::string& node);
inline constexpr const char* kRestore = "--restore";

}  // namespace master
