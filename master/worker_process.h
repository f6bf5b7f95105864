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

// Has the stores in the data directory brought to the configured number of slots, if they are not, by this program run
// once more: RocksDB's threads have no place in the master. Waits for it. It runs as the workers do. Throws Error with
// what it said.
void prepare_stores(const std::string& executable, const config::Config& config, const Identity& identity, int lock);

// The master of a guest (guests.h). It dies with this process. Throws std::system_error.
pid_t spawn_guest(const std::string& executable, const std::string& config_file, const std::string& node);
// Has its stores made of the copies of its node, by this program run once more, and waits for it. Throws Error with
// what it said.
void restore_stores(const std::string& executable, const std::string& config_file, const std::string& node,
                    const Identity& identity);

// What that process does; its exit code.
int prepare_stores_main(const std::string& data_dir, const std::string& slots);
inline constexpr const char* kPrepareStores = "--prepare-stores";  // DATA_DIR SLOTS

// As many files as the hard limit allows; the workers inherit that.
void raise_file_limit();

}  // namespace master
