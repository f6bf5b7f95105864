// A child process that is gone when its object is gone, and when the benchmark itself is killed.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace bench {

class Process {
 public:
  // Runs arguments[0] (a path) with its output and errors going to `log`.
  Process(const std::vector<std::string>& arguments, const std::filesystem::path& log);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  // SIGTERM, and SIGKILL to it and its children when that does not help.
  ~Process();

  pid_t pid() const { return pid_; }
  bool running();
  // Sends the signal and waits, minutes if it must be, until the process and its children are gone.
  bool stop(int signal);

 private:
  bool ended_within(int milliseconds);

  pid_t pid_ = -1;  // -1 once it was waited for
};

}  // namespace bench
