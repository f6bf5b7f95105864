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
  s.faults.late_news = s.faults.death && random.one_in(3);
  return s;
}

Settings Settings::of_cluster_seed(uint64_t seed, uint64_t steps, uint32_t hosts, uint32_t workers) {
  Settings s = of_seed(seed, steps);
  base::Random random(seed * 0x9E3779B97F4A7C15ULL + 2);
  s.clustered = true;
  s.hosts = hosts != 0 ? hosts : 2 + static_cast<uint32_t>(random.below(2));
  s.workers = workers != 0 ? workers : 1 + static_cast<uint32_t>(random.below(2));
  s.lease_ms = 200 + static_cast<uint32_t>(random.below(300));
  Faults& f = s.faults;
  f = {};
  switch (random.below(8)) {  // 0: no faults at all
    case 0:
      break;
    case 1:
      f.hub = true;
      break;
    case 2:
      f.cut = f.death = true;
      break;
    case 3:
      f.redis_down = f.hub = true;
      break;
    case 4:
      f.host_cut = f.host_stop = true;
      break;
    case 5:
      f.host_death = f.host_gone = f.death = true;
      break;
    case 6:
      f.redis_lost = f.redis_down = true;
      break;
    default:
      f.cut = f.stop = f.death = f.hub = f.host_cut = f.host_stop = f.host_death = f.host_gone = f.redis_down = true;
      f.redis_lost = random.one_in(2);
      break;
  }
  if (random.one_in(3)) s.node_batch = size_t{64} << random.below(4);
  f.redis_long = f.redis_down && random.one_in(3);
  f.host_death = f.host_death || f.redis_long;
  return s;
}

}  // namespace sim
