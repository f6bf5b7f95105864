// What every cluster::Hub must do, as checks that run on a world of hubs which share one Redis, or a model of one.
//
//   TEST_CASE("hub contract") {
//     test::check_hubs([] { return std::make_unique<MyWorld>(); });
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "shared/cluster/hub.h"

namespace test {

// Something shared, empty at first, and the hubs of several processes on it.
class HubWorld {
 public:
  virtual ~HubWorld() = default;
  // The hub of another process, not started yet. The world owns it.
  virtual cluster::Hub& make_hub() = 0;
  // That process dies, without a word. `hub` is gone afterwards.
  virtual void kill(cluster::Hub& hub) = 0;
  // Time passes, with a turn of every hub now and then (flush(), run_completions()), until `done` says so; `done` is
  // asked at least once. False: it did not within `ms`.
  virtual bool run_until(const std::function<bool()>& done, uint64_t ms) = 0;
  // The connection of this hub breaks now; calls that were flushed may have been carried out or not. It comes back by
  // itself.
  virtual void cut(cluster::Hub& hub) = 0;
  // Everything that is shared is lost, and all connections break. They come back by themselves.
  virtual void restart_empty() = 0;
  // Inboxes are on another server than all else, which cut() and restart_empty() do not concern.
  virtual bool inboxes_apart() const { return false; }
};

using MakeHubWorld = std::function<std::unique_ptr<HubWorld>()>;

struct HubCheck {
  const char* name;
  void (*run)(HubWorld& world);  // asserts with doctest
};
const std::vector<HubCheck>& hub_checks();

// Runs each of hub_checks() in a world of its own. From inside a TEST_CASE.
void check_hubs(const MakeHubWorld& make_world);

}  // namespace test
