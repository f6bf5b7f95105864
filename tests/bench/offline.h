// Operation "offline": many durable sessions whose clients are away get messages; the broker is restarted; they all
// come back and take what is theirs.
#pragma once

#include "tests/bench/broker.h"
#include "tests/bench/measurement.h"

namespace bench {

Measurement run_offline(const Options& options, Broker& broker);

}  // namespace bench
