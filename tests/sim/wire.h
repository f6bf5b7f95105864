// The socket between two processes: at most one connection at a time, with what is in the kernel for each side.
//
//   dial (greeting with what the dialler has) -> the acceptor is up -> the dialler is up -> ... -> cut or death
//
// A side that is up notices the end of the connection only when it has read what the kernel still has for it.
#pragma once

#include <array>
#include <cstdint>

#include "tests/sim/pipe.h"
#include "tests/sim/process.h"

namespace sim {

struct Wire {
  struct Side {
    Process* process = nullptr;
    Pipe in;
    bool up = false;
    bool heard = false;      // of the other process, from the master
    bool told_dead = false;  // by the master
    bool gone = false;       // peer_gone() was called
    bus::Link* link = nullptr;
    bool was_up = false;  // before its process died
    // A cut lost bytes of this sender that had been "written", and it has not sent them again yet.
    bool lost = false;
    uint64_t lost_until = 0;
    bool held = false;        // a scenario keeps this side from reading
    uint64_t forgets_at = 0;  // not before this step: the news of the other's death takes long
  };
  std::array<Side, 2> sides;
  bool dialling = false;
  bool broken = false;
  uint32_t dialler = 0;
  uint64_t greeting = 0;  // what the dialler has received

  Wire(Process& a, Process& b, size_t capacity) {
    sides[0].process = &a;
    sides[1].process = &b;
    for (Side& side : sides) side.in = Pipe(capacity);
  }
  Side& other(uint32_t side) { return sides[1 - side]; }
  const Side& other(uint32_t side) const { return sides[1 - side]; }
  uint32_t acceptor() const { return 1 - dialler; }
  bool ended(uint32_t side) const { return broken || !other(side).process->alive; }

  // Nobody has an end of it any more.
  void reset();

  bool can_dial(uint32_t side) const;
  bool can_establish(uint32_t side) const;
  bool can_deliver(uint32_t side) const;
  bool can_write(uint32_t side) const;
  bool can_notice(uint32_t side) const;
  bool can_forget(uint32_t side) const;
  // Both processes live and everything either wrote has been read.
  bool quiet() const;
};

}  // namespace sim
