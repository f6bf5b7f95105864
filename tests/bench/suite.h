// Runs the operations asked for on all brokers in turn.
#pragma once

#include <ostream>
#include <vector>

#include "tests/bench/options.h"
#include "tests/bench/report.h"

namespace bench {

// Every run has a broker of its own, freshly started. The brokers take turns within an operation and a repetition,
// so that what disturbs the machine for a while disturbs them alike. Stops early when interrupted.
std::vector<Result> run_suite(const Options& options, std::ostream& table);

}  // namespace bench
