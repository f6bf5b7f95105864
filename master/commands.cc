#include "master/commands.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "master/banner.h"
#include "master/control_socket.h"
#include "master/daemonize.h"
#include "master/error.h"
#include "master/master.h"
#include "master/status.h"
#include "master/store_commands.h"
#include "master/worker_process.h"
#include "shared/config/dump.h"
#include "shared/config/load.h"

namespace master {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;  // also: a bad configuration
constexpr int kExitNotReady = 3;
constexpr int kAnswerTimeoutMs = 5000;

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void print_error(const std::string& text) {
  std::fprintf(stderr, "mqtt-master: %s\n", text.c_str());
}

config::Loaded load(const Arguments& arguments) {
  if (!arguments.config_file.empty()) return config::load_file(arguments.config_file);
  return {config::defaults(config::current_environment()), {}};
}

void print_problems(const config::Loaded& loaded, const Arguments& arguments) {
  std::fputs(config::report(arguments.config_file, loaded.problems).c_str(), stderr);
}

int run_master(config::Config config, const Arguments& arguments, std::optional<Daemon>& daemon) {
  Master::Options options;
  options.daemon = daemon.has_value();
  std::string user;
  options.on_started = [&](FanOut fan_out) {
    std::string text = arguments.quiet ? "" : banner(config, user, fan_out);
    text += banner_warning(fan_out);
    if (!arguments.quiet) text += banner_end(config, daemon.has_value());
    daemon ? daemon->succeeded(text) : print(text);
  };
  raise_file_limit();
  try {
    std::optional<Master> master(std::in_place, config, std::move(options));
    user = master->user();
    const int code = master->run();
    master.reset();  // who hears how it ended may start another one at once
    const std::string hint = config.log_file.empty() ? "" : "; see " + config.log_file;
    if (daemon) daemon->failed(kExitFailed, "mqtt-master: the workers did not start" + hint + '\n');
    return code;
  } catch (const std::exception& error) {
    const std::string text = std::string("mqtt-master: cannot start: ") + error.what() + '\n';
    std::fputs(text.c_str(), stderr);
    if (daemon) daemon->failed(kExitFailed, text);
    return kExitFailed;
  }
}

int start(const Arguments& arguments) {
  config::Loaded loaded = load(arguments);
  if (!loaded.ok()) {
    print_problems(loaded, arguments);
    return kExitUsage;
  }
  config::Config& config = loaded.config;
  config.daemonize |= arguments.daemonize;  // the workers should know
  std::optional<Daemon> daemon;
  if (config.daemonize) daemon.emplace(Daemon::detach(config.stdout_file));
  return run_master(config, arguments, daemon);
}

// nullopt: it does not run, and that has been said. The configuration is needed only for the directory: a mistake made
// in the file since the start does not keep anybody from stopping the broker.
std::optional<ControlClient> connect(const config::Loaded& loaded) {
  if (loaded.config.run_dir.empty()) return std::nullopt;
  std::optional<ControlClient> client = ControlClient::connect(control_socket_path(loaded.config.run_dir));
  if (!client) print_error("not running (" + loaded.config.run_dir + ')');
  return client;
}

int stop(const Arguments& arguments) {
  const config::Loaded loaded = load(arguments);
  if (loaded.config.run_dir.empty()) {
    print_problems(loaded, arguments);
    return kExitUsage;
  }
  std::optional<ControlClient> client = connect(loaded);
  if (!client) return kExitFailed;
  const config::Config& config = loaded.config;
  client->ask(nlohmann::json{{"command", "stop"}, {"graceful", arguments.graceful}}.dump(), kAnswerTimeoutMs);
  const double limit = config.stop_timeout + (arguments.graceful ? config.drain_timeout : 0);
  if (!client->wait_for_end(static_cast<int>(limit * 1000) + kAnswerTimeoutMs)) {
    print_error("it has not stopped yet");
    return kExitFailed;
  }
  print("mqtt-master has stopped\n");
  return kExitOk;
}

int status(const Arguments& arguments) {
  const config::Loaded loaded = load(arguments);
  if (loaded.config.run_dir.empty()) {
    print_problems(loaded, arguments);
    return kExitUsage;
  }
  std::optional<ControlClient> client = connect(loaded);
  if (!client) return kExitFailed;
  const std::string reply = client->ask(R"({"command":"status"})", kAnswerTimeoutMs);
  const Status current = status_from_json(reply);
  print(arguments.json ? reply + '\n' : status_tables(current));
  return current.in_service() ? kExitOk : kExitNotReady;
}

int check(const Arguments& arguments) {
  if (arguments.options) {
    print(config::reference_markdown());
    return kExitOk;
  }
  const config::Loaded loaded = load(arguments);
  if (!loaded.ok()) {
    print_problems(loaded, arguments);
    return kExitUsage;
  }
  print("ok\n" + config::dump(loaded.config, config::Secrets::masked) + '\n');
  return kExitOk;
}

int store(const Arguments& arguments) {
  const config::Loaded loaded = load(arguments);
  if (!loaded.ok()) {
    print_problems(loaded, arguments);
    return kExitUsage;
  }
  return run_store_command(loaded.config, arguments);
}

}  // namespace

int run_command(const Arguments& arguments) {
  try {
    switch (arguments.command) {
      case Command::start:
        return start(arguments);
      case Command::stop:
        return stop(arguments);
      case Command::status:
        return status(arguments);
      case Command::check:
        return check(arguments);
      case Command::store:
        return store(arguments);
      case Command::version:
        print("mqtt-master " MM_VERSION "\n");
        return kExitOk;
      case Command::help:
        print(usage());
        return kExitOk;
    }
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return kExitFailed;
}

}  // namespace master
