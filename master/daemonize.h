// Going to the background. The process the user started stays until the daemon has said how the start went.
#pragma once

#include <string>

#include "shared/base/unique_fd.h"

namespace master {

class Daemon {
 public:
  // Forks twice; returns in the daemon only. The first process waits for what the daemon says: it writes the text of
  // succeeded() to stdout and exits with 0, or that of failed() to stderr and exits with its code. The daemon's own
  // standard output and error go to `stdout_file`. Throws Error.
  static Daemon detach(const std::string& stdout_file);

  void succeeded(const std::string& text);
  void failed(int exit_code, const std::string& text);

 private:
  explicit Daemon(base::UniqueFd pipe) : pipe_(std::move(pipe)) {}
  void say(int exit_code, const std::string& text);
  base::UniqueFd pipe_;
};

}  // namespace master
