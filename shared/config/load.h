// From workers.json to a Config, as a whole or not at all (contract C4).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shared/config/config.h"

namespace config {

// One thing wrong in a file.
struct Problem {
  std::string where;  // JSON path ("workers.mqtt.listen[0]"), or "line 3, column 7", or empty: the file itself
  std::string what;   // what was found and what was expected
  bool operator==(const Problem&) const = default;
};

struct Loaded {
  Config config;                  // meaningful if there is no problem
  std::vector<Problem> problems;  // all of them, in the file's order
  bool ok() const { return problems.empty(); }
};

// What a file is read in: `directory` is where relative paths start (absolute), `cpus` what "cpu" stands for, `host`
// what the host calls itself.
struct Environment {
  std::string directory;
  uint32_t cpus = 1;
  std::string host = "localhost";
  bool internal = false;  // written by mqtt-master for another process of it, which may be one without listeners
};
// The current directory, the processors this process may run on, the host's name.
Environment current_environment();

// Relative paths in the file are relative to the file's directory.
Loaded load_file(const std::string& path);
// `file` names the text in Config::file.
Loaded load_text(std::string_view text, const Environment& environment, const std::string& file = {});
// What an empty file gives.
Config defaults(const Environment& environment);

// "workers.json: 2 errors\n  mqtt.max_inflight: found 0, expected ...\n"
std::string report(const std::string& file, const std::vector<Problem>& problems);

}  // namespace config
