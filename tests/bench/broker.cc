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

constexpr uint64_t kStartNanoseconds = 120'000'000'000;

fs::path make_directory() {
  std::string pattern = fs::temp_directory_path() / "mqtt-bench.XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp");
  return pattern;
}

fs::path write_file(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
  return path;
}

std::string mqtt_master_config(uint16_t port, const BrokerKind& kind, const Options& options) {
  nlohmann::json config = {
      {"run_dir", "run"},
      {"data_dir", "data"},
      {"log_level", "warn"},
      {"workers", {{"mqtt", {{"listen", {"mqtt://127.0.0.1:" + std::to_string(port)}}, {"count", kind.workers}}}}},
      {"mqtt", {{"max_inflight", options.inflight}, {"max_queued_messages", 0}}}};
  if (!kind.store.empty() && kind.store != "default") config["store"] = {{"sync", kind.store}};
  return config.dump(2);
}

std::string mosquitto_config(uint16_t port, const fs::path& directory, bool persistent, const Options& options) {
  // Started by root it would become another user, who cannot read the directory; so it stays who it is.
  const passwd* user = getpwuid(getuid());
  return "listener " + std::to_string(port) + " 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n" +
         "max_inflight_messages " + std::to_string(options.inflight) + "\nlog_type none\n" +
         (persistent ? "persistence true\nautosave_interval 1800\nautosave_on_changes false\npersistence_location " +
                           directory.string() + "/\n"
                     : "persistence false\n") +
         "set_tcp_nodelay true\nsys_interval 0\n" +
         (user != nullptr ? "user " + std::string(user->pw_name) + "\n" : "");
}

std::vector<std::string> command_line(const BrokerKind& kind, uint16_t port, const fs::path& directory,
                                      const Options& options) {
  if (kind.name == "forwarder") return {"/proc/self/exe", "forwarder", std::to_string(port)};
  if (kind.name == "mosquitto") {
    return {options.mosquitto, "-c",
            write_file(directory / "mosquitto.conf", mosquitto_config(port, directory, !kind.store.empty(), options))};
  }
  return {fs::absolute(options.binary), "-c",
          write_file(directory / "workers.json", mqtt_master_config(port, kind, options))};
}

}  // namespace

bool can_run(const BrokerKind& kind, const std::string& operation, int qos) {
  return kind.name != "forwarder" || (qos == 0 && operation != "wildcard" && !is_durable(operation));
}

std::string version_of(const std::string& broker, const Options& options) {
  std::string command;
  if (broker == "mosquitto") command = "'" + options.mosquitto + "' -h";
  if (broker == "mqtt-master") command = "'" + options.binary + "' version";
  if (command.empty()) return "";
  char line[200] = "";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " 2>/dev/null").c_str(), "re"), pclose);
  if (pipe == nullptr || std::fgets(line, sizeof line, pipe.get()) == nullptr) return "";
  std::string text = line;
  return text.substr(0, text.find('\n'));
}

Broker::Broker(const BrokerKind& kind, const Options& options)
    : workers_(kind.workers), protocol_(options.protocol), directory_(make_directory()), port_(free_port()) {
  try {
    command_ = command_line(kind, port_, directory_, options);
    process_ = std::make_unique<Process>(command_, directory_ / "output.log");
    wait_until_ready();
    pids_ = process_tree(process_->pid());
  } catch (...) {
    process_.reset();
    fs::remove_all(directory_);
    throw;
  }
}

Broker::~Broker() {
  process_.reset();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

bool Broker::same_processes() const {
  std::vector<pid_t> now = process_tree(process_->pid());
  std::vector<pid_t> before = pids_;
  std::ranges::sort(now);
  std::ranges::sort(before);
  return now == before;
}

Broker::Restart Broker::restart(bool kill) {
  const uint64_t start = now_ns();
  if (!process_->stop(kill ? SIGKILL : SIGTERM)) throw std::runtime_error("the broker does not stop");
  const uint64_t stopped = now_ns();
  process_ = std::make_unique<Process>(command_, directory_ / "output.log");
  wait_until_ready();
  pids_ = process_tree(process_->pid());
  return {static_cast<double>(stopped - start) * 1e-9, static_cast<double>(now_ns() - stopped) * 1e-9};
}

void Broker::wait_until_ready() {
  // The kernel spreads connections by hash, so a few more than there are workers reach them all.
  const int probes = workers_ == 1 ? 1 : workers_ * 8;
  const uint64_t deadline = now_ns() + kStartNanoseconds;
  for (int answered = 0; answered < probes;) {
    try {
      open_client(port_, "probe" + std::to_string(answered), {}, 0, protocol_);
      ++answered;
    } catch (const std::exception& error) {
      if (!process_->running()) throw std::runtime_error("the broker ended at once: " + log_end());
      if (now_ns() > deadline) throw std::runtime_error(std::string(error.what()) + ": " + log_end());
      usleep(2000);
    }
    if (interrupted()) throw std::runtime_error("interrupted");
  }
}

std::string Broker::log_end() const {
  std::ifstream file(directory_ / "output.log");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (text.ends_with('\n')) text.pop_back();
  constexpr size_t kMost = 2000;
  return text.size() > kMost ? text.substr(text.size() - kMost) : text;
}

}  // namespace bench
