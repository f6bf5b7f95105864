#include "tests/sim/settings.h"

namespace sim {

Settings Settings::of_seed(uint64_t seed, uint64_t steps) {
  base::Random random(seed * 0x9E3779B97F4A7C15ULL + 1);
  Settings s;
  s.seed = seed;
  s.steps = steps;
  s.workers = 1 + static_cast<uint32_t>(random.below(5));
  s.clients = 3 + static_cast<uint32_t>(random.below(6));
  s.pipe_capacity = size_t{256} << random.below(7);
  s.socket_capacity = size_t{128} << random.below(7);
  s.chunk = size_t{1} << random.below(13);
  const uint64_t profile = random.below(8);  // 0 and 1: no faults at all
  s.faults.cut = profile == 2 || profile >= 6;
  s.faults.stop = profile == 3 || profile >= 5;
  s.faults.death = profile >= 4;
  s.racing = !random.one_in(4);
  s.shared = !random.one_in(3);
  s.durable_members = seed % 2 == 0;
  if (random.one_in(2)) s.link_credit = uint64_t{2048} << random.below(5);
  if (random.one_in(4)) s.max_queued_messages = 1 + static_cast<uint32_t>(random.below(12));
  if (random.one_in(6)) s.max_queued_bytes = uint64_t{4096} << random.below(5);
  s.drop_old = random.one_in(2);
  s.faults.store = profile >= 2 && random.one_in(3);
  s.faults.clock = profile >= 2 && random.one_in(3);
  return s;
}

}  // namespace sim
