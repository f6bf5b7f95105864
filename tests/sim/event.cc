#include "tests/sim/event.h"

namespace sim {

std::string_view to_string(EventKind kind) {
  switch (kind) {
#define X(name, help)   \
  case EventKind::name: \
    return #name;
    SIM_EVENTS(X)
#undef X
  }
  return "?";
}

}  // namespace sim
