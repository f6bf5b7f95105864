// Workerman's table at start.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace master {

std::string banner(const config::Config& config, const std::string& user);
// The closing line: how to stop it.
std::string banner_end(const config::Config& config, bool daemon);

}  // namespace master
