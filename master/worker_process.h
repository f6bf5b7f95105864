// The system calls that make a worker: fork, and exec of this program again with a boot record.
#pragma once

#include <sys/types.h>

#include <string>

#include "master/instance.h"
#include "shared/base/unique_fd.h"
#include "shared/config/config.h"
#include "shared/control/boot_record.h"

namespace master {

struct SpawnRequest {
  const std::string& executable;
  const config::Config& config;
  const Identity& identity;
  control::BootRecord record;  // `control` is filled in here
};

struct SpawnedWorker {
  pid_t pid = 0;
  base::UniqueFd control;  // our end, for control::Channel
};

// The process gets the descriptors of the record and standard input, output and error, and no other. It dies with this
// process. Throws std::system_error if it cannot be made.
SpawnedWorker spawn_worker(SpawnRequest request);

// As many files as the hard limit allows; the workers inherit that.
void raise_file_limit();

}  // namespace master
