// The master's side of boot.h: writes the record a worker process is born with.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/config/config.h"
#include "shared/control/boot.h"

namespace control {

// The descriptors are borrowed, and named by the numbers they will have in the worker.
struct BootRecord {
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  int control = -1;
  int metrics = -1;
  int lock = -1;
  std::vector<std::pair<int, config::Listen>> listeners;
  HostStart host_start;
};

// A sealed memfd that holds the record. Throws std::system_error.
base::UniqueFd write_boot_record(const config::Config& config, const BootRecord& record);

// The environment entry that tells a worker which descriptor holds the record.
std::string boot_variable(int descriptor);

// Throws std::exception with what is wrong. Takes over the descriptors the record names.
Boot read_boot_record(int descriptor);

}  // namespace control
