#include "shared/cluster/lease_file.h"

#include <fstream>
#include <utility>

#include "shared/base/read_word.h"
#include "shared/base/replace_file.h"

namespace cluster {

LeaseFile::LeaseFile(const std::string& data_dir, std::string boot_id)
    : path_(data_dir + "/lease"), boot_id_(std::move(boot_id)) {}

// Not synced: after a power cut it is another boot.
bool LeaseFile::note(uint64_t until_ms) const {
  return base::replace_file(path_, boot_id_ + ' ' + std::to_string(until_ms) + '\n', 0600, base::Sync::no);
}

bool LeaseFile::ran_at(uint64_t ms) const {
  std::ifstream file(path_);
  std::string boot_id;
  uint64_t until_ms = 0;
  return file >> boot_id >> until_ms && boot_id == boot_id_ && ms < until_ms;
}

std::string LeaseFile::this_boot() {
  const std::string id = base::read_word("/proc/sys/kernel/random/boot_id");
  return id.empty() ? "unknown" : id;
}

}  // namespace cluster
