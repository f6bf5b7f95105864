// What starting any broker needs: a directory of its own, its files, and to wait until it answers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/bench/process.h"
#include "tests/bench/wire.h"

namespace bench {

// A temporary directory that is gone with its object.
class Directory {
 public:
  Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory();

  const std::filesystem::path& path() const { return path_; }
  // Returns the file's path.
  std::filesystem::path write(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

// Waits until `probes` connections have had their CONNACK. Throws with the end of `log` when that takes too long, or
// the process ends.
void wait_for_connack(uint16_t port, int probes, Protocol protocol, Process& process, const std::filesystem::path& log);
// The same for a Redis server and its PONG.
void wait_for_pong(uint16_t port, Process& process, const std::filesystem::path& log);

}  // namespace bench
