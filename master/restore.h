// The stores of a dead host out of its copies in Redis.
#pragma once

#include <string>

#include "shared/config/config.h"

namespace master {

// Reads the copies of that node and makes `stores` of them, as they would be on its own disk but for the retained
// messages. All of it, or nothing is there afterwards. Takes as long as it takes. Throws std::runtime_error.
void restore(const config::Redis& redis, const std::string& node, const std::string& stores);

}  // namespace master
