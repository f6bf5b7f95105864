#include "tests/bench/hosts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/bench/process_tree.h"
#include "tests/bench/socket.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

// As deploy/cluster/redis.conf has it.
std::vector<std::string> redis_command(const Options& options, uint16_t port, const fs::path& directory) {
  return {options.redis,
          "--bind",
          "127.0.0.1",
          "--port",
          std::to_string(port),
          "--dir",
          directory,
          "--save",
          "",
          "--appendonly",
          "yes",
          "--appendfsync",
          "everysec",
          "--daemonize",
          "no",
          "--maxmemory-policy",
          "noeviction"};
}

}  // namespace

Hosts::Hosts(const BrokerKind& kind, const Options& options) : redis_port_(free_port()) {
  const fs::path redis_log = directory_.path() / "redis.log";
  processes_.push_back(std::make_unique<Process>(redis_command(options, redis_port_, directory_.path()), redis_log));
  wait_for_pong(redis_port_, *processes_[0], redis_log);
  for (size_t host = 0; host < 2; ++host) {
    const fs::path log = directory_.path() / ("host" + std::to_string(host) + ".log");
    ports_[host] = free_port();
    processes_.push_back(std::make_unique<Process>(command_line(kind, options, host), log));
    wait_for_connack(ports_[host], probes(kind), options.protocol, *processes_.back(), log);
  }
  const char* const names[] = {"redis", "publishers_host", "subscribers_host"};
  for (size_t i = 0; i < processes_.size(); ++i) parts_.push_back({names[i], process_tree(processes_[i]->pid())});
}

// Redis last.
Hosts::~Hosts() {
  while (!processes_.empty()) processes_.pop_back();
}

std::vector<std::string> Hosts::command_line(const BrokerKind& kind, const Options& options, size_t host) const {
  if (kind.name == "aedes") {
    return {"/usr/bin/env", "node", fs::absolute(fs::path(options.aedes) / "server.js"), std::to_string(ports_[host]),
            std::to_string(redis_port_)};
  }
  const std::string name = "host" + std::to_string(host);
  nlohmann::json config = mqtt_master_config(ports_[host], kind, options);
  config["run_dir"] = name + "/run";
  config["data_dir"] = name + "/data";
  config["redis"] = {{"url", "redis://127.0.0.1:" + std::to_string(redis_port_) + "/0"}, {"node_id", name}};
  fs::create_directory(directory_.path() / name);
  return {fs::absolute(options.binary), "-c", directory_.write(name + ".json", config.dump(2))};
}

bool Hosts::same_processes() const {
  // Redis has a child now and then, which rewrites its file.
  if (!runs(processes_[0]->pid())) return false;
  for (size_t i = 1; i < processes_.size(); ++i) {
    if (!same_tree(processes_[i]->pid(), parts_[i].pids)) return false;
  }
  return true;
}

}  // namespace bench
