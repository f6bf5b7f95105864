// The listening sockets of all slots. The master opens them, before it drops any privilege, and keeps them: while a
// worker is replaced its queued handshakes wait (contract C1).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "shared/base/unique_fd.h"
#include "shared/config/config.h"

namespace master {

class Listeners {
 public:
  // Opens every socket or none. Throws Error, naming the address, if one is taken by another program or instance.
  explicit Listeners(const config::Config& config);

  // A slot's sockets, in the order of its group's "listen".
  std::vector<std::pair<int, config::Listen>> of_slot(uint32_t slot) const;
  std::vector<int> descriptors_of_slot(uint32_t slot) const;
  void close() { groups_.clear(); }

 private:
  struct Row {
    config::Listen listen;
    std::vector<base::UniqueFd> sockets;  // one, or one for each worker of the group
  };
  struct Group {
    uint32_t first_slot;
    uint32_t count;
    std::vector<Row> rows;
  };
  std::vector<Group> groups_;
};

// Sockets of the master's own. Throws Error as Listeners does.
std::vector<base::UniqueFd> open_listeners(const std::vector<config::Listen>& listens);

}  // namespace master
