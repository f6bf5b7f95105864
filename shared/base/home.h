// Which slot keeps what belongs to a key: a client id's directory entry, a topic's retained message.
#pragma once

#include <cstdint>
#include <string_view>

namespace base {

// All workers must agree on it, and what lies in the stores rests on it: a change is a new store::kFormatVersion and a
// new bus::kBusVersion. Pinned by a test. REQUIRES: slots > 0.
uint32_t home_of(std::string_view key, uint32_t slots);

}  // namespace base
