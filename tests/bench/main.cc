// mqtt-bench: measures brokers side by side. See README.md.
#include <algorithm>
#include <iostream>
#include <stdexcept>

#include "tests/bench/forwarder.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/options.h"
#include "tests/bench/report.h"
#include "tests/bench/socket.h"
#include "tests/bench/suite.h"

namespace {

constexpr int kFaults = 1;
constexpr int kUsage = 2;

int run_benchmark(const bench::Options& options) {
  bench::catch_interrupts();
  bench::raise_file_limit();
  const std::vector<bench::Result> results = bench::run_suite(options, std::cerr);
  std::cout << bench::to_json(options, results).dump(2) << std::endl;
  const std::vector<std::string> faults = bench::faults(results);
  for (const std::string& fault : faults) std::cerr << "fault: " << fault << "\n";
  return faults.empty() && !bench::interrupted() ? 0 : kFaults;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 2 && arguments[0] == "forwarder") {
      return bench::run_forwarder(static_cast<uint16_t>(std::stoul(arguments[1])));
    }
    if (std::ranges::find(arguments, "--help") != arguments.end()) {
      std::cout << bench::usage();
      return 0;
    }
    return run_benchmark(bench::parse_options(arguments));
  } catch (const std::invalid_argument& error) {
    std::cerr << "mqtt-bench: " << error.what() << "\n" << bench::usage();
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << "mqtt-bench: " << error.what() << "\n";
    return kFaults;
  }
}
