#include "tests/bench/suite.h"

#include <algorithm>

#include "tests/bench/broker.h"
#include "tests/bench/connect_storm.h"
#include "tests/bench/hosts.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/offline.h"
#include "tests/bench/operation.h"
#include "tests/bench/retained.h"
#include "tests/bench/traffic.h"

namespace bench {
namespace {

std::vector<BrokerKind> broker_kinds(const Options& options, bool durable) {
  const std::vector<std::string> stores = durable ? options.store : std::vector<std::string>{""};
  std::vector<BrokerKind> kinds;
  for (const std::string& name : options.brokers) {
    if (name != "mqtt-master") {
      kinds.push_back({name, 1, durable ? "autosave" : ""});
      continue;
    }
    for (const int workers : options.workers) {
      for (const std::string& store : stores) kinds.push_back({name, workers, store});
    }
  }
  return kinds;
}

std::vector<int> levels(const std::string& operation, const Options& options) {
  if (operation == "connect") return {0};
  if (operation == "retained" || operation == "offline") return {1};
  std::vector<int> qos = options.qos;
  if (is_durable(operation)) std::erase(qos, 0);
  return qos;
}

Measurement run_once(const std::string& operation, int qos, const BrokerKind& kind, const Options& options) {
  try {
    const Load load{qos, is_paced(operation) ? options.rate : 0};
    if (is_between_hosts(operation)) {
      const Hosts hosts(kind, options);
      Traffic traffic(make_plan(operation, options), load, options, hosts);
      return traffic.run();
    }
    Broker broker(kind, options);
    if (operation == "retained") return run_retained(options, broker);
    if (operation == "offline") return run_offline(options, broker);
    if (operation == "connect") return run_connect_storm(options, broker);
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
  for (const BrokerKind& kind : broker_kinds(options, is_durable(operation))) {
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
  if (std::ranges::any_of(options.operations, is_durable)) table << "autosave: " << kAutosave << "\n";
  for (const std::string& operation : options.operations) {
    for (const int qos : levels(operation, options)) {
      if (interrupted()) return results;
      const std::vector<Result> group = run_group(operation, qos, options);
      print_group(table, group);
      results.insert(results.end(), group.begin(), group.end());
    }
  }
  return results;
}

}  // namespace bench
