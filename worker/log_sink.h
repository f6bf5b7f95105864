// The broker's lines on the worker's log.
#pragma once

#include "shared/log/log.h"
#include "worker/broker/broker.h"

namespace worker {

// REQUIRES: `log` outlives the sink.
broker::LogSink make_log_sink(logging::Log& log);

}  // namespace worker
