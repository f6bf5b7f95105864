#include "master/guests.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "master/error.h"
#include "master/instance.h"
#include "master/master.h"
#include "master/restore.h"
#include "master/worker_process.h"
#include "shared/base/home.h"
#include "shared/config/dump.h"
#include "shared/config/load.h"
#include "shared/store/rebuild.h"
#include "shared/store/stores.h"

namespace master {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdopted = "adopted";
constexpr const char* kNameFile = "/name";

// A directory's name for any node's: 8 hexadecimal digits.
std::string directory_of(std::string_view name) {
  char text[9];
  std::snprintf(text, sizeof text, "%08x", base::home_of(name, 1U << 31));
  return text;
}

void write_file(const std::string& path, const std::string& text) {
  const base::UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw system_error("cannot write " + path);
  }
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::string_view life_name(std::string_view key) {
  return key.substr(0, key.rfind('.'));
}

config::Config load_guest(const std::string& file) {
  config::Loaded loaded = config::load_text(read_file(file), {.directory = "/", .internal = true}, file);
  if (!loaded.ok()) throw Error(config::report(file, loaded.problems));
  return loaded.config;
}

}  // namespace

config::Config guest_config(const config::Config& host, const std::string& name) {
  config::Config guest = host;
  const std::string directory = directory_of(name);
  guest.data_dir = host.data_dir + '/' + kAdopted + '/' + directory;
  guest.run_dir = host.run_dir + '/' + directory;
  guest.file = guest.data_dir + "/guest.json";
  guest.pid_file = guest.run_dir + "/mqtt-master.pid";
  guest.daemonize = false;
  guest.admin = {};
  guest.workers = {{kAdopted, {}, 1, true, {}}};
  guest.redis.node_id = name;
  return guest;
}

std::string guest_name(const control::Node& node, std::string_view self) {
  if (self.empty() || node.adopter != self) return {};
  return node.key + '@' + node.adopter;
}

Guests::Guests(const config::Config& config, std::string executable, logging::Log& log)
    : config_(config), executable_(std::move(executable)), log_(log) {
  if (config_.clustered() && !config_.is_guest()) find_left_over();
}

// What an earlier master has left is wanted or not, as Redis says.
void Guests::find_left_over() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(config_.data_dir + '/' + kAdopted, error)) {
    std::string name = read_file(entry.path().string() + kNameFile);
    if (name.empty() || directory_of(name) != entry.path().filename()) continue;
    Guest guest;
    guest.node = name.substr(0, name.rfind('@'));
    guest.config = guest_config(config_, name);
    guest.name = std::move(name);
    guest.wanted = false;
    guests_.push_back(std::move(guest));
  }
}

Guests::Guest* Guests::find(const std::string& name) {
  const auto it = std::ranges::find(guests_, name, &Guest::name);
  return it == guests_.end() ? nullptr : &*it;
}

void Guests::set_nodes(const control::Nodes& nodes, uint64_t now_ms) {
  if (stopping_ || nodes.self.empty() || config_.is_guest()) return;
  for (const control::Node& node : nodes.nodes) {
    const std::string name = guest_name(node, nodes.self);
    if (name.empty() || find(name) != nullptr) continue;
    guests_.push_back({.name = name, .node = node.key, .config = guest_config(config_, name), .start_at_ms = now_ms});
  }
  for (Guest& guest : guests_) {
    guest.wanted = std::ranges::any_of(nodes.nodes, [&](const control::Node& node) {
      return guest_name(node, nodes.self) == guest.name || life_name(node.key) == guest.name;
    });
    if (guest.wanted || !nodes.calm || guest.pid == 0) continue;
    log_.warn("a guest is another host's now", {{"node", guest.node}});
    kill(guest.pid, SIGTERM);
  }
  if (!nodes.calm) return;
  std::erase_if(guests_, [this](const Guest& guest) {
    if (guest.wanted || guest.pid != 0) return false;
    remove(guest);
    return true;
  });
}

bool Guests::on_exit(pid_t pid, const std::string& how, uint64_t now_ms) {
  const auto it = std::ranges::find(guests_, pid, &Guest::pid);
  if (it == guests_.end()) return false;
  log_.info("a guest has ended", {{"node", it->node}, {"pid", pid}, {"status", how}});
  it->pid = 0;
  it->pause_ms = now_ms - it->started_ms >= kSteadyMs ? kPauseMs : std::min(2 * it->pause_ms, kLongestPauseMs);
  it->start_at_ms = now_ms + it->pause_ms;
  return true;
}

void Guests::on_tick(uint64_t now_ms) {
  if (stopping_) return;
  for (Guest& guest : guests_) {
    if (guest.wanted && guest.pid == 0 && now_ms >= guest.start_at_ms) start(guest, now_ms);
  }
}

void Guests::start(Guest& guest, uint64_t now_ms) {
  guest.started_ms = now_ms;
  try {
    fs::create_directories(guest.config.data_dir);
    write_file(guest.config.data_dir + kNameFile, guest.name);
    write_file(guest.config.file, config::dump(guest.config, config::Secrets::shown));
    guest.pid = spawn_guest(executable_, guest.config.file, guest.node);
    log_.warn("going on with a dead host", {{"node", guest.node}, {"pid", guest.pid}});
  } catch (const std::exception& error) {
    log_.error("cannot go on with a dead host", {{"node", guest.node}, {"error", error.what()}});
    guest.pause_ms = std::min(2 * guest.pause_ms, kLongestPauseMs);
    guest.start_at_ms = now_ms + guest.pause_ms;
  }
}

void Guests::remove(const Guest& guest) {
  std::error_code error;
  fs::remove_all(guest.config.data_dir, error);
  fs::remove_all(guest.config.run_dir, error);
  log_.info("a guest is gone", {{"node", guest.node}});
}

void Guests::stop() {
  stopping_ = true;
  for (const pid_t pid : pids()) kill(pid, SIGTERM);
}

std::vector<pid_t> Guests::pids() const {
  std::vector<pid_t> all;
  for (const Guest& guest : guests_) {
    if (guest.pid != 0) all.push_back(guest.pid);
  }
  return all;
}

int guest_main(const std::string& config_file, const std::string& node) {
  raise_file_limit();
  config::Config config;
  try {
    config = load_guest(config_file);
    const Identity identity = resolve_identity(config);
    umask(027);
    prepare_directories(config, identity);
    const std::string stores = store::store_directory(config.data_dir);
    if (!store::noted_slots(stores)) restore_stores("/proc/self/exe", config_file, node, identity);
    config.workers[0].count = store::noted_slots(stores).value_or(1);
    Master::Options options;
    options.guest = true;
    Master master(config, std::move(options));
    return master.run();
  } catch (const std::exception& error) {
    logging::Log log({static_cast<logging::Level>(config.log_level), static_cast<logging::Format>(config.log_format),
                      config.log_file, true, "guest"});
    log.error("cannot go on with a dead host", {{"node", node}, {"error", error.what()}});
    return 1;
  }
}

int restore_main(const std::string& config_file, const std::string& node) {
  try {
    const config::Config config = load_guest(config_file);
    restore(config.redis, node, store::store_directory(config.data_dir));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace master
