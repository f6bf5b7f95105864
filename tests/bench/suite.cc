#include "tests/bench/suite.h"

#include "tests/bench/broker.h"
#include "tests/bench/connect_storm.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/operation.h"
#include "tests/bench/traffic.h"

namespace bench {
namespace {

std::vector<BrokerKind> broker_kinds(const Options& options) {
  std::vector<BrokerKind> kinds;
  for (const std::string& name : options.brokers) {
    if (name != "mqtt-master") {
      kinds.push_back({name, 1});
      continue;
    }
    for (const int workers : options.workers) kinds.push_back({name, workers});
  }
  return kinds;
}

Measurement run_once(const std::string& operation, int qos, const BrokerKind& kind, const Options& options) {
  try {
    const Broker broker(kind, options);
    if (operation == "connect") return run_connect_storm(options, broker);
    const Load load{qos, operation == "paced" ? options.rate : 0};
    Traffic traffic(make_plan(operation, options), load, options, broker);
    return traffic.run();
  } catch (const std::exception& error) {
    Measurement failed;
    failed.error = error.what();
    return failed;
  }
}

std::vector<Result> run_group(const std::string& operation, int qos, const Options& options) {
  std::vector<BrokerKind> kinds;
  for (const BrokerKind& kind : broker_kinds(options)) {
    if (can_run(kind, operation, qos)) kinds.push_back(kind);
  }
  std::vector<std::vector<Measurement>> runs(kinds.size());
  for (int repetition = 0; repetition < options.repeat; ++repetition) {
    for (size_t i = 0; i < kinds.size() && !interrupted(); ++i) {
      runs[i].push_back(run_once(operation, qos, kinds[i], options));
    }
  }
  std::vector<Result> group;
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (!runs[i].empty()) group.push_back(summarise(operation, qos, kinds[i], std::move(runs[i])));
  }
  return group;
}

}  // namespace

std::vector<Result> run_suite(const Options& options, std::ostream& table) {
  std::vector<Result> results;
  print_heading(table);
  for (const std::string& operation : options.operations) {
    const std::vector<int> levels = operation == "connect" ? std::vector<int>{0} : options.qos;
    for (const int qos : levels) {
      if (interrupted()) return results;
      const std::vector<Result> group = run_group(operation, qos, options);
      print_group(table, group);
      results.insert(results.end(), group.begin(), group.end());
    }
  }
  return results;
}

}  // namespace bench
