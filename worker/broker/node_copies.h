// At a gateway: passes the copies of what its workers store (copier.h) on to Redis, and says how far they are.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "shared/bus/frames.h"
#include "shared/cluster/hub.h"
#include "worker/broker/core.h"

namespace broker {

struct Peer;

class NodeCopies {
 public:
  NodeCopies(Core& core, cluster::Hub& hub) : core_(core), hub_(hub), slots_(core.homes) {}

  void on_joined();
  void on_down();
  void on_peer_linked(Peer& worker);
  void on_peer_gone(const WorkerId& worker);
  bool on_copy(const WorkerId& from, std::string_view body);
  // Tells the workers how far their copies are.
  void end_of_turn();

 private:
  struct Slot {
    WorkerId worker;
    uint64_t round = 0;  // 0: none, what comes of an earlier one is dropped
    uint64_t ended = 0;  // the last one that came to nothing
    uint64_t done = 0;   // steps of the round
    uint64_t told = 0;
  };
  void tell(Peer& worker, bus::CopyState state);
  void on_step(uint32_t slot, uint64_t round, cluster::Status status);

  Core& core_;
  cluster::Hub& hub_;
  bool joined_ = false;
  std::vector<Slot> slots_;
};

}  // namespace broker
