// What everything that does I/O for one worker shares. Outlives all of it.
#pragma once

#include "shared/base/byte_chain.h"
#include "shared/log/log.h"
#include "shared/loop/loop.h"
#include "shared/metrics/page.h"

namespace net {

class Context {
 public:
  Context(loop::Loop& l, base::ChunkPool& p, metrics::PageRef page_ref, logging::Log& logger)
      : loop(l), pool(p), page(page_ref), log(logger) {}

  loop::Loop& loop;
  base::ChunkPool& pool;
  metrics::PageRef page;
  logging::Log& log;

  // Every callback that finds work says so, for the page: the master shows (and at last kills) a worker that stays
  // busy.
  void begin_work() {
    if (working_) return;
    working_ = true;
    page.set(metrics::Gauge::busy_since_ms, loop.now_ms());
  }
  bool working() const { return working_; }
  // All of it is done.
  void end_work() {
    if (!working_) return;
    working_ = false;
    page.set(metrics::Gauge::busy_since_ms, 0);
  }

 private:
  bool working_ = false;
};

}  // namespace net
