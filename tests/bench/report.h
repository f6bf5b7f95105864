// The results for people (a table) and for programs (JSON).
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "tests/bench/broker.h"
#include "tests/bench/measurement.h"
#include "tests/bench/options.h"

namespace bench {

// One operation on one broker.
struct Result {
  std::string operation;
  int qos = 0;
  BrokerKind broker;
  Measurement median;   // by broker CPU per message; what was lost, and an error, are those of all the runs
  double least_us = 0;  // broker CPU per message of all the runs
  double most_us = 0;
};

// REQUIRES: at least one run.
Result summarise(const std::string& operation, int qos, const BrokerKind& broker, std::vector<Measurement> runs);

void print_heading(std::ostream& out);
// `group` is one operation at one QoS on all its brokers.
void print_group(std::ostream& out, const std::vector<Result>& group);

nlohmann::json to_json(const Options& options, const std::vector<Result>& results);

// What makes a run fail: an operation that did not finish, messages lost at QoS > 0, or repeated at QoS 2.
std::vector<std::string> faults(const std::vector<Result>& results);

}  // namespace bench
