// One URL of a "listen".
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "shared/config/config.h"

namespace config {

// The address, or what is wrong with it in words. Of a group's listeners, or with Scheme::http of "admin".
std::variant<Listen, std::string> parse_listen(std::string_view url, Scheme scheme = Scheme::mqtt);

}  // namespace config
