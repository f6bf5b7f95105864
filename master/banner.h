// Workerman's table at start.
#pragma once

#include <string>

#include "master/status.h"
#include "shared/config/config.h"

namespace master {

std::string banner(const config::Config& config, const std::string& user, FanOut fan_out);
// What must be said even when no banner is wanted: a cluster that is none yet. Empty: nothing.
std::string banner_warning(FanOut fan_out);
// The closing line: how to stop it.
std::string banner_end(const config::Config& config, bool daemon);

}  // namespace master
