#include "tests/sim/wire.h"

namespace sim {

void Wire::reset() {
  broken = dialling = false;
  for (Side& side : sides) side.in.clear();
}

bool Wire::can_dial(uint32_t side) const {
  return sides[0].process->runs() && sides[1].process->runs() && !sides[0].up && !sides[1].up && !dialling &&
         sides[side].heard && !sides[side].told_dead;
}

bool Wire::can_establish(uint32_t side) const {
  if (!dialling || broken || sides[side].up || !sides[side].process->runs()) return false;
  if (side == acceptor()) return other(side).process->alive;
  // The acceptor's greeting is in the kernel, whatever became of it.
  return other(side).process->alive ? other(side).up : other(side).was_up;
}

bool Wire::can_deliver(uint32_t side) const {
  const Side& s = sides[side];
  return s.up && s.process->runs() && !s.held && !s.in.empty();
}

bool Wire::can_write(uint32_t side) const {
  const Side& s = sides[side];
  return s.up && s.process->runs() && !ended(side) && s.link->waiting() && other(side).in.room() > 0;
}

bool Wire::can_notice(uint32_t side) const {
  const Side& s = sides[side];
  return s.up && s.process->runs() && ended(side) && s.in.empty();
}

bool Wire::can_forget(uint32_t side) const {
  const Side& s = sides[side];
  // What an earlier, broken connection left for a side that never came up is nobody's.
  const bool read_all = !s.up || s.in.empty();
  return s.process->runs() && s.told_dead && !s.gone && read_all && !can_establish(side);
}

bool Wire::quiet() const {
  for (const Side& s : sides) {
    if (!s.process->runs() || !s.up || s.link->waiting() || !s.in.empty()) return false;
  }
  return !broken;
}

}  // namespace sim
