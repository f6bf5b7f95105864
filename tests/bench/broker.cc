#include "tests/bench/broker.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/operation.h"
#include "tests/bench/process_tree.h"
#include "tests/bench/socket.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

std::string mosquitto_config(uint16_t port, const Directory& directory, bool persistent, const Options& options) {
  // Started by root it would become another user, who cannot read the directory; so it stays who it is.
  const passwd* user = getpwuid(getuid());
  return "listener " + std::to_string(port) + " 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n" +
         "max_inflight_messages " + std::to_string(options.inflight) + "\nlog_type none\n" +
         (persistent ? "persistence true\nautosave_interval 1800\nautosave_on_changes false\npersistence_location " +
                           directory.path().string() + "/\n"
                     : "persistence false\n") +
         "set_tcp_nodelay true\nsys_interval 0\n" +
         (user != nullptr ? "user " + std::string(user->pw_name) + "\n" : "");
}

std::vector<std::string> command_line(const BrokerKind& kind, uint16_t port, const Directory& directory,
                                      const Options& options) {
  if (kind.name == "forwarder") return {"/proc/self/exe", "forwarder", std::to_string(port)};
  if (kind.name == "mosquitto") {
    return {options.mosquitto, "-c",
            directory.write("mosquitto.conf", mosquitto_config(port, directory, !kind.store.empty(), options))};
  }
  return {fs::absolute(options.binary), "-c",
          directory.write("workers.json", mqtt_master_config(port, kind, options).dump(2))};
}

}  // namespace

nlohmann::json mqtt_master_config(uint16_t port, const BrokerKind& kind, const Options& options) {
  nlohmann::json config = {
      {"run_dir", "run"},
      {"data_dir", "data"},
      {"log_level", "warn"},
      {"workers", {{"mqtt", {{"listen", {"mqtt://127.0.0.1:" + std::to_string(port)}}, {"count", kind.workers}}}}},
      {"mqtt",
       {{"max_inflight", options.inflight},
        {"receive_maximum", std::max<size_t>(options.inflight, 20)},
        {"max_queued_messages", 0}}}};
  if (!kind.store.empty() && kind.store != "default") config["store"] = {{"sync", kind.store}};
  return config;
}

bool can_run(const BrokerKind& kind, const std::string& operation, int qos) {
  if (is_between_hosts(operation)) return kind.name == "aedes" || kind.name == "mqtt-master";
  if (kind.name == "aedes") return false;
  return kind.name != "forwarder" || (qos == 0 && operation != "wildcard" && !is_durable(operation));
}

std::string version_of(const std::string& broker, const Options& options) {
  std::string command;
  if (broker == "mosquitto") command = "'" + options.mosquitto + "' -h";
  if (broker == "aedes") {
    command = "cd '" + options.aedes + "' && npm ls --depth=0 --parseable --long | sed -n 's/.*:aedes@/aedes /p'";
  }
  if (broker == "mqtt-master") command = "'" + options.binary + "' version";
  if (command.empty()) return "";
  char line[200] = "";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " 2>/dev/null").c_str(), "re"), pclose);
  if (pipe == nullptr || std::fgets(line, sizeof line, pipe.get()) == nullptr) return "";
  std::string text = line;
  return text.substr(0, text.find('\n'));
}

int probes(const BrokerKind& kind) {
  return kind.workers == 1 ? 1 : kind.workers * 8;
}

Broker::Broker(const BrokerKind& kind, const Options& options)
    : probes_(probes(kind)), protocol_(options.protocol), port_(free_port()) {
  command_ = command_line(kind, port_, directory_, options);
  start();
}

void Broker::start() {
  const fs::path log = directory_.path() / "output.log";
  process_ = std::make_unique<Process>(command_, log);
  wait_for_connack(port_, probes_, protocol_, *process_, log);
  parts_ = {{"broker", process_tree(process_->pid())}};
}

bool Broker::same_processes() const {
  return same_tree(process_->pid(), pids());
}

Broker::Restart Broker::restart(bool kill) {
  const uint64_t begun = now_ns();
  if (!process_->stop(kill ? SIGKILL : SIGTERM)) throw std::runtime_error("the broker does not stop");
  const uint64_t stopped = now_ns();
  start();
  return {static_cast<double>(stopped - begun) * 1e-9, static_cast<double>(now_ns() - stopped) * 1e-9};
}

}  // namespace bench
