// A small file that is there whole, with what it held before or with what it holds now.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace base {

// no: after a power cut it may be gone, empty or older. data: it is then as it was before or as it is now.
enum class Sync { no, data };

// Writes beside it (`path`.new) and renames. False: errno says why, and what was there before still is.
bool replace_file(const std::string& path, std::string_view text, mode_t mode, Sync sync);

}  // namespace base
