// One URL of a group's "listen".
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "shared/config/config.h"

namespace config {

// The address, or what is wrong with it in words.
std::variant<Listen, std::string> parse_listen(std::string_view url);

}  // namespace config
