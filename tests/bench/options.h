// The command line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/wire.h"

namespace bench {

struct Options {
  std::string binary = "mqtt-master";
  std::string redis = "/usr/bin/redis-server";
  std::string aedes = "tests/bench/aedes";
  std::string mosquitto = "/usr/sbin/mosquitto";
  std::vector<std::string> brokers = {"mosquitto", "mqtt-master"};
  std::vector<std::string> operations = {"connect", "fan-in", "fan-out", "pairs", "paced", "wildcard"};
  std::vector<int> qos = {0, 1, 2};
  std::vector<int> workers = {1};
  Protocol protocol = Protocol::kMqtt311;
  double seconds = 5;
  double warm_up = 1;
  int repeat = 1;

  size_t pairs = 50;
  size_t subscribers = 200;
  size_t connections = 10'000;
  size_t filters = 10'000;
  size_t payload = 64;
  size_t rate = 20'000;
  size_t batch = 32;
  size_t window = 128;
  size_t inflight = 20;

  // The operations with a store.
  std::vector<std::string> store = {"default"};  // store.sync of mqtt-master; default: not in its configuration
  bool kill = false;                             // restart after SIGKILL instead of a clean stop
  size_t retained = 1'000'000;
  size_t sessions = 10'000;
  size_t queued = 100;

  bool quick = false;
};

// Throws std::invalid_argument with a message for the user.
Options parse_options(const std::vector<std::string>& arguments);

std::string usage();

}  // namespace bench
