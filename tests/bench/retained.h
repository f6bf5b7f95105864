// Operation "retained": very many retained messages, a subscriber to all of them while others work, one to a few of
// them, and a restart.
#pragma once

#include "tests/bench/broker.h"
#include "tests/bench/measurement.h"

namespace bench {

Measurement run_retained(const Options& options, Broker& broker);

}  // namespace bench
