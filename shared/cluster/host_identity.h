// What tells this host from another one of the same name: a number that lies in its data directory, so it is another
// where the disk is another or empty, and this boot of the machine, so that a copied disk does not make two hosts one.
#pragma once

#include <string>

namespace cluster {

struct HostIdentity {
  std::string disk;  // one word, like boot; empty: not known, and nobody is told from others by it
  std::string boot;
};

// Of a data directory; the first time it is made. An error leaves `disk` empty.
HostIdentity host_identity(const std::string& data_dir);

}  // namespace cluster
