#include "worker/broker/core.h"

#include "shared/base/home.h"

namespace broker {

uint32_t Core::home_of(std::string_view key) const {
  return base::home_of(key, homes);
}

}  // namespace broker
