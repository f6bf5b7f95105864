// mqtt-master store info|export|import|check: what is done to the stores of a broker that does not run.
#pragma once

#include "master/command_line.h"
#include "shared/config/config.h"

namespace master {

// Returns the process's exit code. Throws std::exception with what is wrong.
int run_store_command(const config::Config& config, const Arguments& arguments);

}  // namespace master
