// The master process: owns the sockets, the pages and the children, feeds events to the Supervisor and carries out what
// it decides. No client byte passes through it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/admin_server.h"
#include "master/control_socket.h"
#include "master/guests.h"
#include "master/instance.h"
#include "master/listeners.h"
#include "master/status_source.h"
#include "master/supervisor.h"
#include "shared/base/clock.h"
#include "shared/base/unique_fd.h"
#include "shared/config/config.h"
#include "shared/control/boot.h"
#include "shared/control/channel.h"
#include "shared/log/log.h"
#include "shared/loop/loop.h"
#include "shared/loop/signal.h"
#include "shared/loop/timer.h"
#include "shared/metrics/page.h"

namespace master {

class Master {
 public:
  struct Options {
    std::string executable = "/proc/self/exe";  // what is run as a worker
    bool daemon = false;                        // in the background: HUP opens the log again
    std::function<void(FanOut)> on_started;     // every process is ready
    bool guest = false;                         // it ends when it has nothing left, guests.h
  };

  // Locks the directories and opens the sockets. Throws Error if this cannot be the master.
  Master(config::Config config, Options options);
  ~Master();

  // Runs the broker until it is stopped. The process's exit code. No child is left.
  int run();
  const std::string& user() const { return identity_.user; }

 private:
  void watch_signals();
  void act(Actions actions);
  void carry_out(const Spawn& action);
  void carry_out(const Kill& action);
  void carry_out(const SendPeers& action);
  void carry_out(const SendStop& action);
  void carry_out(const SendAdopt& action);
  void carry_out(const SendUnadopt& action);
  void carry_out(const StartedUp& action);
  void carry_out(const Report& action);
  void carry_out(const Exit& action);

  void open_channel(uint32_t slot, base::UniqueFd fd);
  void on_message(uint32_t slot, const control::Message& message);
  void send(uint32_t slot, const control::Message& message, std::span<const int> descriptors = {});
  void reap();
  void on_tick();
  // A guest has its node buried when it has nothing left.
  void bury_if_empty();
  void end_if_alone();
  void stop(bool graceful, const char* why);
  std::string answer(const std::string& request);
  AdminPage admin_page(std::string_view path) const;
  std::string slot_name(uint32_t slot) const { return config::slot_name(config_, slot); }

  config::Config config_;
  Options options_;
  base::SystemClock clock_;
  control::HostStart host_start_;
  Identity identity_;
  base::UniqueFd data_lock_;  // inherited by the workers
  base::UniqueFd run_lock_;
  logging::Log log_;
  loop::Loop loop_;
  Listeners listeners_;
  base::UniqueFd pages_fd_;
  metrics::Pages pages_;
  IncarnationFile incarnations_;
  Supervisor supervisor_;
  StatusSource status_;
  Guests guests_;
  std::vector<std::unique_ptr<control::Channel>> channels_;  // by slot; null: none
  std::vector<loop::Signal> signals_;
  loop::Timer tick_;
  std::vector<Actions> pending_;
  bool acting_ = false;
  int exit_code_ = 0;
  bool ending_ = false;  // its own processes have ended
  uint64_t ending_since_ms_ = 0;
  uint64_t empty_since_ms_ = 0;  // 0: it is not
  std::vector<std::unique_ptr<AdminServer>> admin_;
  std::optional<ControlServer> control_;
  std::optional<PidFile> pid_file_;
};

}  // namespace master
