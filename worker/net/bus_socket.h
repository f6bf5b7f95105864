// The Unix sockets of the local bus: <directory>/<slot>.sock in a directory that is only ours.
#pragma once

#include <cstdint>
#include <string>

#include "shared/base/unique_fd.h"

namespace net {

class BusDirectory {
 public:
  // Creates it (0700) if it is not there. Throws std::system_error.
  explicit BusDirectory(const std::string& path);
  // Listens for one slot; what an earlier process left behind is replaced. Throws std::system_error.
  base::UniqueFd listen(uint32_t slot) const;
  // A connection to the slot's process, or none (nobody is listening yet; errno says more).
  base::UniqueFd dial(uint32_t slot) const;

 private:
  std::string path_;
  base::UniqueFd fd_;  // of the directory: the way to names that are too long for a socket's address
};

// A connection that somebody made to a listening socket of ours. None: errno says why; EPERM: it was another user's
// process, and has been closed.
base::UniqueFd accept_bus(int listener);

}  // namespace net
