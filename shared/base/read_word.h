// The first word of a small file.
#pragma once

#include <string>

namespace base {

// Empty: there is none, or no file.
std::string read_word(const std::string& path);

}  // namespace base
