// A store that cannot be used: which one, what was found there and what was expected. For the operator.
#pragma once

#include <stdexcept>
#include <string>

namespace store {

class Error : public std::runtime_error {
 public:
  Error(const std::string& path, const std::string& found, const std::string& expected)
      : std::runtime_error("the store " + path + ": found " + found + "; expected " + expected) {}
};

}  // namespace store
