// Why the master cannot start or go on: the environment's fault, told to the user in one line.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace master {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "cannot open /x: Permission denied", from errno.
inline Error system_error(const std::string& what) {
  return Error(what + ": " + std::strerror(errno));
}

}  // namespace master
