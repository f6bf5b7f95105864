#include "shared/base/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "shared/base/unique_fd.h"

namespace base {

bool replace_file(const std::string& path, std::string_view text, mode_t mode, Sync sync) {
  const std::string fresh = path + ".new";
  const UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
         (sync == Sync::no || fdatasync(fd.get()) == 0) && rename(fresh.c_str(), path.c_str()) == 0;
}

}  // namespace base
