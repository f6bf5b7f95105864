#include "tests/bench/operation.h"

namespace bench {
namespace {

Plan pairs(size_t count) {
  Plan plan;
  for (size_t i = 0; i < count; ++i) {
    plan.topics.push_back("bench/" + std::to_string(i) + "/sensor/data");
    plan.filters.push_back({plan.topics.back()});
  }
  return plan;
}

Plan fan_in(size_t publishers) {
  Plan plan = pairs(publishers);
  std::vector<std::string> all;
  for (const auto& filters : plan.filters) all.push_back(filters.front());
  plan.filters = {all};
  return plan;
}

Plan fan_out(size_t subscribers) {
  Plan plan;
  plan.topics = {"bench/all/sensor/data"};
  plan.filters.assign(subscribers, plan.topics);
  plan.copies = subscribers;
  return plan;
}

// Pairs whose own filters hold a wildcard, amid filters that start like the topics published and then differ: after
// literal levels, after a '+', after two of them.
Plan wildcard(size_t count, size_t filters) {
  Plan plan = pairs(count);
  for (size_t i = 0; i < count; ++i) plan.filters[i] = {"bench/" + std::to_string(i) + "/+/data"};
  for (size_t k = 0; k < filters; ++k) {
    const std::string pair = std::to_string(k / 4 % count);
    const std::string other = "other" + std::to_string(k);
    const std::string kinds[] = {"bench/" + pair + "/" + other + "/#", "bench/+/" + other + "/+",
                                 "+/" + pair + "/" + other + "/#", "+/+/" + other + "/data/#"};
    plan.filters[k % count].push_back(kinds[k % 4]);
  }
  return plan;
}

}  // namespace

const std::vector<std::string>& operation_names() {
  static const std::vector<std::string> names = {"connect",  "fan-in",   "fan-out",       "pairs",
                                                 "paced",    "wildcard", "durable-pairs", "durable-fan-out",
                                                 "retained", "offline",  "hosts",         "hosts-paced"};
  return names;
}

bool is_durable(const std::string& operation) {
  return operation.starts_with("durable-") || operation == "retained" || operation == "offline";
}

bool is_between_hosts(const std::string& operation) {
  return operation.starts_with("hosts");
}

bool is_paced(const std::string& operation) {
  return operation.ends_with("paced");
}

Plan make_plan(const std::string& operation, const Options& options) {
  if (operation.starts_with("durable-")) {
    Plan plan = make_plan(operation.substr(8), options);
    plan.durable = true;
    return plan;
  }
  if (operation == "fan-in") return fan_in(options.pairs);
  if (operation == "fan-out") return fan_out(options.subscribers);
  if (operation == "wildcard") return wildcard(options.pairs, options.filters);
  return pairs(options.pairs);
}

}  // namespace bench
