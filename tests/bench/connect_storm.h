// The operation "connect": how fast connections are accepted, and what an idle one costs in memory.
#pragma once

#include "tests/bench/broker.h"
#include "tests/bench/measurement.h"
#include "tests/bench/options.h"

namespace bench {

Measurement run_connect_storm(const Options& options, const Broker& broker);

}  // namespace bench
