#include "shared/config/config.h"

#include "shared/base/check.h"

namespace config {
namespace {

struct Place {
  const WorkerGroup* group;
  uint32_t index;
};

Place place_of_slot(const Config& config, uint32_t slot) {
  for (const WorkerGroup& group : config.workers) {
    if (slot < group.count) return {&group, slot};
    slot -= group.count;
  }
  CHECK(false && "slot out of range");
  std::abort();
}

}  // namespace

uint32_t Config::slot_count() const {
  uint32_t total = 0;
  for (const WorkerGroup& worker_group : workers) total += worker_group.count;
  return total;
}

std::string slot_name(const Config& config, uint32_t slot) {
  if (config.is_gateway(slot)) return "gateway";
  const Place place = place_of_slot(config, slot);
  return place.group->name + '/' + std::to_string(place.index);
}

const WorkerGroup& group_of_slot(const Config& config, uint32_t slot) {
  return *place_of_slot(config, slot).group;
}

}  // namespace config
