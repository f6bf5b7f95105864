#include "shared/base/read_word.h"

#include <fstream>

namespace base {

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

}  // namespace base
