#include "shared/cluster/lease_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <utility>

#include "shared/base/unique_fd.h"

namespace cluster {

LeaseFile::LeaseFile(const std::string& data_dir, std::string boot_id)
    : path_(data_dir + "/lease"), boot_id_(std::move(boot_id)) {}

// Not synced: after a power cut it is another boot.
bool LeaseFile::note(uint64_t until_ms) const {
  const std::string fresh = path_ + ".new";
  const std::string text = boot_id_ + ' ' + std::to_string(until_ms) + '\n';
  const base::UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
         rename(fresh.c_str(), path_.c_str()) == 0;
}

bool LeaseFile::ran_at(uint64_t ms) const {
  std::ifstream file(path_);
  std::string boot_id;
  uint64_t until_ms = 0;
  return file >> boot_id >> until_ms && boot_id == boot_id_ && ms < until_ms;
}

std::string LeaseFile::this_boot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id.empty() ? "unknown" : id;
}

}  // namespace cluster
