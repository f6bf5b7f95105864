#include "tests/bench/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/bench/operation.h"

namespace bench {
namespace {

using nlohmann::json;

std::optional<double> ratio(double value, double base) {
  if (value <= 0 || base <= 0) return std::nullopt;
  return value / base;
}

// The same operation on another broker, or with another number of workers; nullptr: there is none, or it is that one.
template <typename IsBase>
const Result* find_base(const Result& result, const std::vector<Result>& results, IsBase&& is_base) {
  if (is_base(result.broker)) return nullptr;
  const auto base = std::ranges::find_if(results, [&](const Result& other) {
    return other.operation == result.operation && other.qos == result.qos && is_base(other.broker);
  });
  return base == results.end() ? nullptr : &*base;
}

// The one that all are compared with.
const Result* reference(const Result& result, const std::vector<Result>& results) {
  const char* const name = is_between_hosts(result.operation) ? "aedes" : "mosquitto";
  return find_base(result, results, [name](const BrokerKind& broker) { return broker.name == name; });
}

std::optional<double> cpu_ratio(const Result& result, const Result* base) {
  if (base == nullptr) return std::nullopt;
  return ratio(result.median.broker_cpu_us(), base->median.broker_cpu_us());
}

// Between hosts the rate says something, too: the client is not what ends it.
std::optional<double> rate_ratio(const Result& result, const std::vector<Result>& results) {
  const Result* const base = reference(result, results);
  if (base == nullptr || !is_between_hosts(result.operation) || is_paced(result.operation)) return std::nullopt;
  return ratio(result.median.per_second(), base->median.per_second());
}

std::optional<double> ratio_to_one_worker(const Result& result, const std::vector<Result>& results) {
  const BrokerKind one{result.broker.name, 1, result.broker.store};
  return cpu_ratio(result, find_base(result, results, [&](const BrokerKind& broker) { return broker == one; }));
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string ratio_cell(const std::optional<double>& value) {
  return value ? format("%.2f", *value) : "-";
}

std::string remarks(const Measurement& run) {
  std::string text;
  if (run.idle) text += format(" %.0f bytes per idle connection (PSS)", run.idle->pss);
  if (run.client_saturated()) text += " client saturated";
  if (run.lost > 0) text += " LOST " + std::to_string(run.lost);
  if (run.repeated > 0) text += " repeated " + std::to_string(run.repeated);
  if (!run.error.empty()) text += " FAILED: " + run.error;
  return text;
}

double milliseconds(uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) * 1e-6;
}

json latency_json(const Histogram& latency) {
  const auto microseconds = [](uint64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-3; };
  return {{"p50", microseconds(latency.percentile(0.5))},
          {"p99", microseconds(latency.percentile(0.99))},
          {"max", microseconds(latency.max())}};
}

void add_ratio(json& object, const char* name, const std::optional<double>& value) {
  if (value) object[name] = *value;
}

json result_json(const Result& result, const std::vector<Result>& all) {
  const Measurement& run = result.median;
  json object = {{"operation", result.operation},
                 {"qos", result.qos},
                 {"broker", result.broker.name},
                 {"workers", result.broker.workers},
                 {"finished", run.error.empty()},
                 {"seconds", run.seconds},
                 {"delivered", run.delivered},
                 {"published_in_all", run.published},
                 {"lost", run.lost},
                 {"repeated", run.repeated},
                 {"disordered", run.disordered},
                 {"messages_per_second", run.per_second()},
                 {"latency_us", latency_json(run.latency)},
                 {"broker_cpu_seconds", run.broker_cpu},
                 {"broker_cpu_us_per_message", run.broker_cpu_us()},
                 {"broker_cpu_us_per_message_least", result.least_us},
                 {"broker_cpu_us_per_message_most", result.most_us},
                 {"client_cpu_seconds", run.client_cpu},
                 {"client_saturated", run.client_saturated()}};
  add_ratio(object, "cpu_per_message_ratio", cpu_ratio(result, reference(result, all)));
  add_ratio(object, "messages_per_second_ratio", rate_ratio(result, all));
  add_ratio(object, "cpu_per_message_ratio_to_one_worker", ratio_to_one_worker(result, all));
  if (!run.error.empty()) object["error"] = run.error;
  if (!result.broker.store.empty()) object["store"] = result.broker.store;
  for (const Measurement::Figure& figure : run.figures) object["figures"][figure.name] = figure.value;
  if (run.idle) object["bytes_per_idle_connection"] = {{"pss", run.idle->pss}, {"rss", run.idle->rss}};
  return object;
}

json host_json() {
  utsname name{};
  uname(&name);
  std::string model;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; model.empty() && std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) model = line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return {{"cores", std::thread::hardware_concurrency()}, {"cpu", model}, {"kernel", name.release}};
}

json options_json(const Options& options) {
  return {{"protocol", static_cast<int>(options.protocol)},
          {"seconds", options.seconds},
          {"warm_up", options.warm_up},
          {"repeat", options.repeat},
          {"pairs", options.pairs},
          {"subscribers", options.subscribers},
          {"connections", options.connections},
          {"filters", options.filters},
          {"payload", options.payload},
          {"rate", options.rate},
          {"batch", options.batch},
          {"window", options.window},
          {"inflight", options.inflight},
          {"store", options.store},
          {"restart", options.kill ? "kill" : "stop"},
          {"retained", options.retained},
          {"sessions", options.sessions},
          {"queued", options.queued}};
}

}  // namespace

Result summarise(const std::string& operation, int qos, const BrokerKind& broker, std::vector<Measurement> runs) {
  std::ranges::sort(runs, {}, &Measurement::broker_cpu_us);
  Result result{
      operation, qos, broker, runs[(runs.size() - 1) / 2], runs.front().broker_cpu_us(), runs.back().broker_cpu_us()};
  result.median.published = result.median.lost = result.median.repeated = result.median.disordered = 0;
  for (const Measurement& run : runs) {
    result.median.published += run.published;
    result.median.lost += run.lost;
    result.median.repeated += run.repeated;
    result.median.disordered += run.disordered;
    if (!run.error.empty()) result.median.error = run.error;
  }
  return result;
}

void print_heading(std::ostream& out) {
  out << "                                                            broker CPU, microseconds   latency, ms\n"
         "operation       qos broker      workers   lost messages/s   each  ratio ratio1w cores    p50     p99     max "
         "client\n";
}

void print_group(std::ostream& out, const std::vector<Result>& group) {
  for (const Result& result : group) {
    const Measurement& run = result.median;
    const double cores = run.seconds > 0 ? run.broker_cpu / run.seconds : 0;
    out << format("%-15s %3d %-11s %7d %6llu %10.0f %6.2f %6s %7s %5.2f %6.2f %7.2f %7.2f  %3.0f %%",
                  result.operation.c_str(), result.qos, result.broker.name.c_str(), result.broker.workers,
                  static_cast<unsigned long long>(run.lost), run.per_second(), run.broker_cpu_us(),
                  ratio_cell(cpu_ratio(result, reference(result, group))).c_str(),
                  ratio_cell(ratio_to_one_worker(result, group)).c_str(), cores,
                  milliseconds(run.latency.percentile(0.5)), milliseconds(run.latency.percentile(0.99)),
                  milliseconds(run.latency.max()), run.client_share() * 100)
        << (result.broker.store.empty() ? "" : " store: " + result.broker.store) << remarks(run) << "\n";
    for (const Measurement::Figure& figure : run.figures) {
      out << format("    %-36s %14.6g\n", figure.name.c_str(), figure.value);
    }
    if (const auto times = rate_ratio(result, group))
      out << format("    %-36s %14.6g\n", "messages_per_second_ratio", *times);
  }
  out.flush();
}

json to_json(const Options& options, const std::vector<Result>& results) {
  json versions = json::object();
  for (const std::string& broker : options.brokers) {
    if (broker != "forwarder") versions[broker] = version_of(broker, options);
  }
  json list = json::array();
  for (const Result& result : results) list.push_back(result_json(result, results));
  json object = {{"host", host_json()}, {"versions", versions}, {"options", options_json(options)}, {"results", list}};
  if (std::ranges::any_of(results, [](const Result& result) { return result.broker.store == "autosave"; })) {
    object["notes"]["autosave"] = kAutosave;
  }
  return object;
}

std::vector<std::string> faults(const std::vector<Result>& results) {
  std::vector<std::string> list;
  for (const Result& result : results) {
    const Measurement& run = result.median;
    const std::string where = result.operation + " at QoS " + std::to_string(result.qos) + " on " + result.broker.name +
                              " with " + std::to_string(result.broker.workers) + " workers" +
                              (result.broker.store.empty() ? ": " : ", store " + result.broker.store + ": ");
    if (!run.error.empty()) list.push_back(where + "not finished: " + run.error);
    if (result.qos > 0 && run.lost > 0) list.push_back(where + "lost " + std::to_string(run.lost));
    if (result.qos == 2 && run.repeated > 0) list.push_back(where + "repeated " + std::to_string(run.repeated));
  }
  return list;
}

}  // namespace bench
