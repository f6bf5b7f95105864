// mqtt-sim [--scenarios] [--scenario NAME] [--seeds N] [--first S] [--seed S] [--steps N] [--budget SECONDS] [--trace]
//          [--cluster] [--hosts M] [--workers N]
//
// --cluster: of several hosts, with Redis; --hosts and --workers (of each host) say how many, else the seed does.
// --pinned: clients stay on their hosts, which always come back, and nothing is retained or shared; --retained: ... but
// for retained messages; --shared: ... but for shared groups.
// --scenario NAME: one directed scenario; --first V --seeds N, or --seed V, say which variants of it, also beyond those
// of the suite.
// Runs the directed scenarios, then N random runs. A run that breaks an invariant is run again with its trace kept;
// what concerns the broken invariant is printed (--trace: everything), and the exit status is 1.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/sim/scenarios.h"
#include "tests/sim/simulation.h"

// Of the sanitizers' run-time, if there is one.
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using sim::Settings;
using sim::Simulation;

struct Options {
  bool scenarios = false;
  std::string scenario;
  uint64_t first = 1;
  uint64_t seeds = 0;
  uint64_t steps = 2000;
  uint64_t budget = 0;  // seconds for the random runs, 0 = no limit
  bool keep_going = false;
  bool trace = false;
  bool cluster = false;
  bool pinned = false;
  bool retained = false;
  bool shared = false;
  bool strict = false;
  uint64_t hosts = 0;  // 0: the seed says
  uint64_t workers = 0;

  std::string of_cluster() const {
    if (!cluster) return "";
    std::string out = "--cluster ";
    if (pinned) out += retained ? "--retained " : shared ? "--shared " : "--pinned ";
    if (strict) out += "--strict ";
    if (hosts != 0) out += sim::text("--hosts ", hosts, ' ');
    if (workers != 0) out += sim::text("--workers ", workers, ' ');
    return out;
  }
};

std::string running;  // for the last words of a run that crashes

void last_words() {
  std::fprintf(stderr, "mqtt-sim: crashed in: %s\n", running.c_str());
}

bool take_number(int argc, char** argv, int& i, std::string_view name, uint64_t& out) {
  if (name != argv[i] || i + 1 >= argc) return false;
  out = std::strtoull(argv[++i], nullptr, 10);
  return true;
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    uint64_t seed = 0;
    if (argument == "--scenarios") {
      o.scenarios = true;
    } else if (argument == "--scenario" && i + 1 < argc) {
      o.scenario = argv[++i];
    } else if (argument == "--trace") {
      o.trace = true;
    } else if (argument == "--keep-going") {
      o.keep_going = true;
    } else if (argument == "--cluster") {
      o.cluster = true;
    } else if (argument == "--strict") {
      o.cluster = o.strict = true;
    } else if (argument == "--pinned") {
      o.cluster = o.pinned = true;
    } else if (argument == "--shared") {
      o.cluster = o.pinned = o.shared = true;
    } else if (argument == "--retained") {
      o.cluster = o.pinned = o.retained = true;
    } else if (take_number(argc, argv, i, "--hosts", o.hosts) || take_number(argc, argv, i, "--workers", o.workers)) {
      o.cluster = true;
    } else if (take_number(argc, argv, i, "--seed", seed)) {
      o.first = seed;
      o.seeds = 1;
    } else if (!take_number(argc, argv, i, "--first", o.first) && !take_number(argc, argv, i, "--seeds", o.seeds) &&
               !take_number(argc, argv, i, "--steps", o.steps) && !take_number(argc, argv, i, "--budget", o.budget)) {
      std::fprintf(stderr, "mqtt-sim: what is '%s'?\n", argv[i]);
      return false;
    }
  }
  if (!o.scenarios && o.scenario.empty() && o.seeds == 0) o.scenarios = true;
  return true;
}

// In how many runs something was dropped or refused, and so counted: whether the bounds are reached at all.
struct Reached {
  uint64_t credit = 0;
  uint64_t slow = 0;
  uint64_t queue = 0;
  uint64_t store = 0;
  // Of clusters.
  uint64_t troubled = 0;
  uint64_t blind = 0;
  uint64_t lease = 0;
  uint64_t adopted = 0;
  uint64_t risen = 0;
  uint64_t deliveries = 0;  // of all runs together
  uint64_t crossings = 0;
};
Reached reached;

void note_reached(const Simulation& simulation) {
  using metrics::Counter;
  reached.credit += simulation.world.total(Counter::publish_dropped_bus) > 0;
  reached.slow += simulation.world.total(Counter::publish_dropped_slow) > 0;
  reached.queue += simulation.world.total(Counter::publish_dropped_queue) > 0;
  reached.store += simulation.world.total(Counter::publish_refused_store) > 0;
  const auto any_host = [&](auto&& is) { return std::ranges::any_of(simulation.world.hosts(), is); };
  reached.troubled += any_host([](const auto& host) { return host->troubles.size() > 1; });
  reached.blind += any_host([](const auto& host) {
    return std::ranges::any_of(host->troubles, [](const auto& trouble) { return trouble.blind; });
  });
  reached.lease += any_host([](const auto& host) { return host->lost_lease > 600; });
  reached.adopted += any_host([](const auto& host) { return !host->adopted.empty(); });
  reached.risen += any_host([](const auto& host) { return host->rose_after_adoption; });
  reached.deliveries += simulation.oracle.deliveries();
  reached.crossings += simulation.oracle.crossings();
}

// Runs it; on failure once more, with the trace. True: all is well.
template <typename Run>
bool check(const Settings& settings, const std::string& name, bool print_all, Run run, uint64_t* hash = nullptr) {
  running = name;
  {
    Settings quiet = settings;
    quiet.trace = print_all;
    Simulation simulation(quiet);
    run(simulation);
    if (hash != nullptr) *hash = simulation.trace.hash();
    note_reached(simulation);
    if (!simulation.failed()) {
      if (print_all) std::fputs(simulation.trace.report(true).c_str(), stdout);
      return true;
    }
    if (print_all) {
      std::printf("%s%s FAILED\n", simulation.trace.report(true).c_str(), name.c_str());
      return false;
    }
  }
  Settings again = settings;
  again.trace = true;
  Simulation simulation(again);
  run(simulation);
  std::printf("%s\n%s FAILED%s\n\n", simulation.trace.report(false).c_str(), name.c_str(),
              simulation.failed() ? "" : ", but not when repeated: it is not deterministic");
  std::fflush(stdout);
  return false;
}

bool run_seed(uint64_t seed, const Options& o, uint64_t* hash = nullptr) {
  Settings settings = o.cluster ? Settings::of_cluster_seed(seed, o.steps, static_cast<uint32_t>(o.hosts),
                                                            static_cast<uint32_t>(o.workers))
                                : Settings::of_seed(seed, o.steps);
  settings.strict = o.strict;
  if (o.pinned) {
    settings.roaming = false;
    settings.shared = o.shared;
    settings.retained = o.retained;
    settings.faults.host_gone = false;
  }
  const std::string name = sim::text("mqtt-sim ", o.of_cluster(), "--seed ", seed, " --steps ", o.steps);
  return check(
      settings, name, o.trace, [](Simulation& simulation) { simulation.run(); }, hash);
}

int run_scenarios(const Options& o, const std::vector<sim::Scenario>& scenarios) {
  int failures = 0;
  for (const sim::Scenario& scenario : scenarios) {
    if (!o.scenario.empty() && o.scenario != scenario.name) continue;
    const bool chosen = !o.scenario.empty() && o.seeds > 0;
    const uint64_t first = chosen ? o.first : 0;
    const uint64_t end = chosen ? o.first + o.seeds : scenario.variants;
    for (uint64_t variant = first; variant < end; ++variant) {
      Settings settings = scenario.settings;
      settings.seed = variant + 1;
      settings.strict = o.strict;
      const std::string name = sim::text("mqtt-sim --scenario ", scenario.name, " --seed ", variant);
      const auto run = [&](Simulation& simulation) {
        scenario.run(simulation, variant);
        if (!simulation.failed()) simulation.finish();
      };
      if (check(settings, name, o.trace, run)) continue;
      ++failures;
      if (!o.keep_going) return failures;
      if (!chosen) break;
    }
  }
  return failures;
}

// Of one host, or of several; of either if one is chosen by its name.
std::vector<const std::vector<sim::Scenario>*> all_scenarios(const Options& o) {
  std::vector<const std::vector<sim::Scenario>*> all;
  if (!o.cluster) all.push_back(&sim::scenarios());
  if (!o.cluster && o.scenario.empty()) return all;
  all.insert(all.end(),
             {&sim::cluster_scenarios(), &sim::retained_scenarios(), &sim::shared_scenarios(),
              &sim::roaming_scenarios(), &sim::order_scenarios(), &sim::adoption_scenarios(), &sim::will_scenarios()});
  return all;
}

// False: there is none of that name; says which there are.
bool know_scenario(const Options& o) {
  if (o.scenario.empty()) return true;
  std::string names;
  for (const auto* scenarios : all_scenarios(o)) {
    for (const sim::Scenario& scenario : *scenarios) {
      if (o.scenario == scenario.name) return true;
      names += sim::text("\n  ", scenario.name);
    }
  }
  std::fprintf(stderr, "mqtt-sim: no scenario '%s'; there are:%s\n", o.scenario.c_str(), names.c_str());
  return false;
}

int run_seeds(const Options& o) {
  int failures = 0;
  const auto begin = std::chrono::steady_clock::now();
  uint64_t done = 0;
  for (; done < o.seeds; ++done) {
    const auto spent =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin).count();
    if (o.budget != 0 && static_cast<uint64_t>(spent) >= o.budget) break;
    uint64_t hash = 0;
    const uint64_t seed = o.first + done;
    bool good = run_seed(seed, o, &hash);
    if (good && done % 16 == 0 && !o.trace) {  // the same seed gives the same run
      uint64_t again = 0;
      run_seed(seed, o, &again);
      if (hash != again) {
        std::printf("mqtt-sim %s--seed %lu --steps %lu: two runs differ: it is not deterministic\n",
                    o.of_cluster().c_str(), seed, o.steps);
        good = false;
      }
    }
    if (good) continue;
    ++failures;
    if (!o.keep_going) break;
  }
  std::printf("mqtt-sim: %lu seeds from %lu, %lu steps each, %d failed\n", done, o.first, o.steps, failures);
  std::printf(
      "  with messages dropped for want of credit: %lu, for a slow reader: %lu, for a full queue: %lu; refused by "
      "a failing store: %lu\n",
      reached.credit, reached.slow, reached.queue, reached.store);
  if (!o.cluster) return failures;
  std::printf(
      "  with a troubled host: %lu, a lease that ran out: %lu, a host that was adopted: %lu, that rose afterwards: "
      "%lu, a gateway that opened without knowing the others: %lu; deliveries: %lu, to another host: %lu\n",
      reached.troubled, reached.lease, reached.adopted, reached.risen, reached.blind, reached.deliveries,
      reached.crossings);
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options) || !know_scenario(options)) return 2;
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(last_words);
  std::signal(SIGABRT, [](int) {
    last_words();
    std::_Exit(3);
  });
  int failures = 0;
  if (options.scenarios || !options.scenario.empty()) {
    for (const auto* scenarios : all_scenarios(options)) failures += run_scenarios(options, *scenarios);
  }
  if (options.seeds > 0 && options.scenario.empty()) failures += run_seeds(options);
  return failures == 0 ? 0 : 1;
}
