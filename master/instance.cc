#include "master/instance.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "master/error.h"
#include "shared/base/replace_file.h"

namespace master {
namespace {

namespace fs = std::filesystem;

gid_t group_id(const std::string& name) {
  const group* entry = getgrnam(name.c_str());
  if (entry == nullptr) throw Error("there is no group \"" + name + "\"");
  return entry->gr_gid;
}

// Makes what is missing of a path; only the last directory is for us alone.
void make_directory(const std::string& path) {
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw system_error("cannot make the directory " + path);
  if (!fs::is_directory(path, error)) throw Error(path + " is not a directory");
}

void give_to(const std::string& path, const Identity& identity) {
  if (!identity.switches) return;
  if (chown(path.c_str(), identity.uid, identity.gid) != 0)
    throw system_error("cannot give " + path + " to " + identity.user);
}

struct Holder {
  bool alive = true;  // as far as is known
  std::string name = "another process";
};

Holder holder_of(int fd) {
  char text[32] = {};
  if (pread(fd, text, sizeof text - 1, 0) <= 0) return {};
  const auto pid = static_cast<pid_t>(std::strtol(text, nullptr, 10));
  const bool alive = pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
  return {alive, (alive ? "mqtt-master with pid " : "what is left of mqtt-master with pid ") + std::to_string(pid)};
}

}  // namespace

Identity resolve_identity(const config::Config& config) {
  Identity identity{"", geteuid(), getegid(), false};
  const passwd* entry = config.user.empty() ? getpwuid(geteuid()) : getpwnam(config.user.c_str());
  if (entry == nullptr && !config.user.empty()) throw Error("there is no user \"" + config.user + "\"");
  if (entry != nullptr) {
    identity.user = entry->pw_name;
    identity.uid = entry->pw_uid;
    identity.gid = config.user.empty() ? getegid() : entry->pw_gid;
  } else {
    identity.user = std::to_string(geteuid());
  }
  if (!config.group.empty()) identity.gid = group_id(config.group);
  identity.switches = identity.uid != geteuid() || identity.gid != getegid();
  if (identity.switches && geteuid() != 0) throw Error("only root can run workers as another user or group");
  return identity;
}

void prepare_directories(const config::Config& config, const Identity& identity) {
  for (const std::string& directory : {config.run_dir, config.data_dir}) {
    make_directory(directory);
    give_to(directory, identity);
  }
  for (const std::string& file : {config.log_file, config.pid_file}) {
    if (!file.empty() && !fs::exists(fs::path(file).parent_path())) make_directory(fs::path(file).parent_path());
  }
  if (!config.log_file.empty()) {
    const base::UniqueFd log(open(config.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    if (!log) throw system_error("cannot open the log file " + config.log_file);
    give_to(config.log_file, identity);
  }
}

void become(const Identity& identity) {
  if (!identity.switches) return;
  if (initgroups(identity.user.c_str(), identity.gid) != 0 || setgid(identity.gid) != 0 || setuid(identity.uid) != 0) {
    throw system_error("cannot run as " + identity.user);
  }
}

base::UniqueFd lock_directory(const std::string& directory, std::chrono::milliseconds patience) {
  const std::string path = directory + "/lock";
  base::UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) throw system_error("cannot open " + path);
  constexpr std::chrono::milliseconds kPause{10};
  for (std::chrono::milliseconds waited{0}; flock(fd.get(), LOCK_EX | LOCK_NB) != 0; waited += kPause) {
    if (errno != EWOULDBLOCK) throw system_error("cannot lock " + path);
    const Holder holder = holder_of(fd.get());
    if (holder.alive || waited >= patience) throw Error(directory + " is in use by " + holder.name);
    std::this_thread::sleep_for(kPause);
  }
  const std::string text = std::to_string(getpid()) + '\n';
  if (ftruncate(fd.get(), 0) != 0 ||
      pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw system_error("cannot write " + path);
  }
  return fd;
}

IncarnationFile::IncarnationFile(const std::string& data_dir) : path_(data_dir + "/incarnation") {
  if (!fs::exists(path_)) return;
  std::ifstream file(path_);
  std::string rest;
  if (!(file >> highest_) || file >> rest) throw Error(path_ + " does not hold a number");
}

void IncarnationFile::reserve(uint64_t incarnation) {
  if (incarnation <= highest_) return;
  const uint64_t highest = incarnation + kAhead;
  if (!base::replace_file(path_, std::to_string(highest) + '\n', 0600, base::Sync::data)) {
    throw system_error("cannot write " + path_);
  }
  highest_ = highest;
}

PidFile::PidFile(std::string path, pid_t pid) : path_(std::move(path)) {
  if (!base::replace_file(path_, std::to_string(pid) + '\n', 0644, base::Sync::no)) {
    throw system_error("cannot write the pid file " + path_);
  }
}

PidFile::~PidFile() {
  unlink(path_.c_str());
}

}  // namespace master
