// The seam between main() and the worker: the executable runs worker_main() when the master re-executed it as a worker.
#pragma once

#include "shared/control/boot.h"

namespace worker {

// Runs one worker until it is told to stop or its master dies. Returns the process's exit code (kExitFatal: do not
// respawn, the configuration or environment is at fault).
int worker_main(control::Boot boot);

}  // namespace worker
