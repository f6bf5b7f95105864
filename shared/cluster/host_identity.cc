#include "shared/cluster/host_identity.h"

#include "shared/base/random.h"
#include "shared/base/read_word.h"
#include "shared/base/replace_file.h"
#include "shared/cluster/lease_file.h"

namespace cluster {

HostIdentity host_identity(const std::string& data_dir) {
  const std::string path = data_dir + "/host";
  std::string disk = base::read_word(path);
  if (disk.empty()) {
    disk = std::to_string(base::entropy());
    // Also after a power cut: half a word would be another host's.
    if (!base::replace_file(path, disk + '\n', 0600, base::Sync::data)) disk.clear();
  }
  return {disk, LeaseFile::this_boot()};
}

}  // namespace cluster
