// "did you mean": the nearest of some names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace config {

// "; did you mean \"max_inflight\"?", or nothing if no name is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& names);

}  // namespace config
