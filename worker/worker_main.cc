#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <utility>

#include "shared/control/worker_entry.h"
#include "shared/log/log.h"
#include "worker/worker.h"

namespace worker {
namespace {

// What a terminal sends to the whole group is for the master to decide on.
void ignore_signals() {
  for (const int number : {SIGPIPE, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2}) std::signal(number, SIG_IGN);
}

logging::Log::Options log_options(const control::Boot& boot) {
  const config::Config& config = boot.config;
  return {static_cast<logging::Level>(config.log_level), static_cast<logging::Format>(config.log_format),
          config.log_file, !config.daemonize, config::slot_name(config, boot.slot)};
}

int run(control::Boot boot, logging::Log& log) {
  bool started = false;
  try {
    Worker worker(std::move(boot), log);
    started = true;
    return worker.run();
  } catch (const std::exception& error) {
    log.error(started ? "the worker failed" : "the worker cannot start", {{"error", error.what()}});
    return started ? 1 : control::kExitFatal;
  }
}

}  // namespace

int worker_main(control::Boot boot) {
  // Again: execve() of a binary with file capabilities clears it. A master that died before closes the control channel.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  ignore_signals();
  try {
    logging::Log log(log_options(boot));
    return run(std::move(boot), log);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mqtt-master: cannot start a worker: %s\n", error.what());
    return control::kExitFatal;
  }
}

}  // namespace worker
