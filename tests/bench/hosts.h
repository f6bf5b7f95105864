// Two hosts that are one broker through one Redis: of mqtt-master, or of aedes with its Redis packages.
//
//   publishers ──> first host ──> Redis ──> second host ──> subscribers
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/bench/broker.h"
#include "tests/bench/launch.h"
#include "tests/bench/options.h"
#include "tests/bench/process.h"
#include "tests/bench/target.h"

namespace bench {

class Hosts : public Target {
 public:
  // Returns when both answer. Throws with the end of a log when one does not.
  // REQUIRES: kind.name is mqtt-master or aedes.
  Hosts(const BrokerKind& kind, const Options& options);
  ~Hosts() override;

  uint16_t publisher_port() const override { return ports_[0]; }
  uint16_t subscriber_port() const override { return ports_[1]; }
  const std::vector<Part>& parts() const override { return parts_; }
  bool same_processes() const override;

 private:
  std::vector<std::string> command_line(const BrokerKind& kind, const Options& options, size_t host) const;

  Directory directory_;
  uint16_t redis_port_ = 0;
  uint16_t ports_[2] = {0, 0};
  std::vector<std::unique_ptr<Process>> processes_;  // Redis first
  std::vector<Part> parts_;                          // the same order
};

}  // namespace bench
