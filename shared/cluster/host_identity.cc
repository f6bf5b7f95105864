#include "shared/cluster/host_identity.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>

#include "shared/base/random.h"
#include "shared/base/unique_fd.h"
#include "shared/cluster/lease_file.h"

namespace cluster {
namespace {

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// Whole or not at all, also after a power cut: half a word would be another host's.
bool write_word(const std::string& path, const std::string& word) {
  const std::string fresh = path + ".new";
  const std::string text = word + '\n';
  const base::UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd.get()) == 0 &&
         rename(fresh.c_str(), path.c_str()) == 0;
}

}  // namespace

HostIdentity host_identity(const std::string& data_dir) {
  const std::string path = data_dir + "/host";
  std::string disk = read_word(path);
  if (disk.empty()) {
    disk = std::to_string(base::entropy());
    if (!write_word(path, disk)) disk.clear();
  }
  return {disk, LeaseFile::this_boot()};
}

}  // namespace cluster
