// The named operations: who publishes what to whom.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/bench/options.h"

namespace bench {

const std::vector<std::string>& operation_names();

// The clients of an operation that carries messages. Every message reaches `copies` subscribers.
struct Plan {
  std::vector<std::string> topics;                // one to each publisher
  std::vector<std::vector<std::string>> filters;  // one list to each subscriber
  size_t copies = 1;
  bool durable = false;  // the subscribers' sessions outlive their connections
};

// Whether the brokers need a store for it; such operations are about QoS 1 and 2.
bool is_durable(const std::string& operation);

// Whether it is about two hosts and the Redis between them.
bool is_between_hosts(const std::string& operation);
// Whether messages come at a rate instead of saturating.
bool is_paced(const std::string& operation);

// REQUIRES: operation is one of operation_names() that carries messages: not connect, retained, offline.
Plan make_plan(const std::string& operation, const Options& options);

}  // namespace bench
