// What makes this the one master of its directories: the directories themselves, the locks in them and the pid file.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "shared/base/unique_fd.h"
#include "shared/config/config.h"

namespace master {

// Whom the workers run as.
struct Identity {
  std::string user;  // the name, for initgroups and the banner
  uid_t uid = 0;
  gid_t gid = 0;
  bool switches = false;  // the workers are to change to it
};
// Throws Error: no such user, or not root and another user is asked for.
Identity resolve_identity(const config::Config& config);

// Makes run_dir, data_dir and those of the log file (0700), and gives what the workers write to to their user.
void prepare_directories(const config::Config& config, const Identity& identity);

// This process is that user from now on. Throws Error.
void become(const Identity& identity);

// Takes an flock on DIRECTORY/lock. The lock lasts as long as any process has the descriptor (or a copy) open, so what
// a dead master left running keeps it; its workers are killed with it, which takes a moment, so for them it waits up to
// `patience`. Throws Error, naming the holder.
inline constexpr std::chrono::milliseconds kLockPatience{3000};
base::UniqueFd lock_directory(const std::string& directory, std::chrono::milliseconds patience = kLockPatience);

// The highest number that a process of this host may have been given, kept in the data directory: numbers grow over
// restarts of the master and of the host, however its clock is set. Written some way ahead, so not for every process.
class IncarnationFile {
 public:
  // Throws Error: there is one that cannot be read.
  explicit IncarnationFile(const std::string& data_dir);
  uint64_t highest() const { return highest_; }  // 0: none was given
  // Before a process is given that number. Throws std::system_error.
  void reserve(uint64_t incarnation);

 private:
  static constexpr uint64_t kAhead = uint64_t{1} << 24;  // microseconds; of a cluster's numbers (supervisor.h) 16 ms

  std::string path_;
  uint64_t highest_ = 0;
};

// Written at once or not at all; removed by its destructor.
class PidFile {
 public:
  PidFile(std::string path, pid_t pid);
  ~PidFile();
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

 private:
  std::string path_;
};

}  // namespace master
