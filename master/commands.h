// The commands of the command line. Each returns the process's exit code.
#pragma once

#include "master/command_line.h"

namespace master {

int run_command(const Arguments& arguments);

}  // namespace master
