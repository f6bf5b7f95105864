// Going to the background. The process the user started stays until the daemon has said how the start went.
#pragma once

#include <string>

#include "shared/base/unique_fd.h"

namespace master {

class Daemon {
 public:
  // Forks twice; returns in the daemon only. The first process exits with 0 after succeeded(), or writes the text of
  // failed() to stderr and exits with its code. Standard output and error go to `stdout_file`. Throws Error.
  static Daemon detach(const std::string& stdout_file);

  void succeeded();
  void failed(int exit_code, const std::string& text);

 private:
  explicit Daemon(base::UniqueFd pipe) : pipe_(std::move(pipe)) {}
  base::UniqueFd pipe_;
};

}  // namespace master
