// A loop with what net needs, whose turns the test drives itself; afterwards no handle and no descriptor may be left.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <string>

#include "shared/log/log.h"
#include "shared/loop/loop.h"
#include "shared/loop/timer.h"
#include "shared/metrics/page.h"
#include "worker/net/context.h"

namespace net_test {

inline size_t open_descriptors() {
  static const auto once = [] {
    loop::Loop first;  // libuv opens a pipe for signals with the first loop of a process and keeps it
    return 0;
  }();
  (void)once;
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

class NetFixture {
 public:
  // ~Loop checks that no handle is left.
  ~NetFixture() {
    surroundings_.reset();
    CHECK(open_descriptors() == descriptors_);
  }

  // What the driver does at the end of a turn.
  std::function<void()> end_of_turn = [] {};

  void turn() {
    loop().run_once();
    end_of_turn();
    context().end_work();
  }
  // Turns until `condition` holds. False: it did not within some seconds.
  bool until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      turn();
    }
    return true;
  }
  void turns(int n) {
    for (int i = 0; i < n; ++i) turn();
  }

  loop::Loop& loop() { return surroundings_->loop; }
  base::ChunkPool& pool() { return surroundings_->pool; }
  net::Context& context() { return surroundings_->context; }
  metrics::PageRef page() { return surroundings_->page; }
  uint64_t gauge(metrics::Gauge g) { return page().get(g); }
  uint64_t counter(metrics::Counter c) { return page().get(c); }

 private:
  struct Surroundings {
    loop::Loop loop;
    base::ChunkPool pool;
    std::unique_ptr<metrics::Page> memory = std::make_unique<metrics::Page>();
    metrics::PageRef page{memory.get()};
    logging::Log log{logging::Log::Options{}};
    net::Context context{loop, pool, page, log};
    loop::Timer tick{loop};  // a turn never waits long
    Surroundings() {
      tick.start(2, 2, [] {});
    }
  };
  const size_t descriptors_ = open_descriptors();
  std::unique_ptr<Surroundings> surroundings_ = std::make_unique<Surroundings>();
};

}  // namespace net_test
