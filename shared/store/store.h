// The seam to what outlives a worker: batches of changes that are durable when their completion is called.
//
// The broker never waits: it hands over a batch and goes on; completions come back on the loop, in the order of the
// batches, possibly many at once (group commit). Acknowledgements that promise durability hang on them (contract C6).
// What the changes are (sessions, queues, QoS 2 ids, outboxes, retained messages) is the business of record.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace store {

enum class Status : uint8_t { ok, full, failed };

// One put (value set) or delete (value empty and `erase`).
struct Change {
  std::string key;
  std::string value;
  bool erase = false;
};
using Batch = std::vector<Change>;
using Completion = std::function<void(Status)>;

class Store {
 public:
  virtual ~Store() = default;
  // Applies the batch atomically. `done` is called from run_completions(), never from inside commit().
  virtual void commit(Batch batch, Completion done) = 0;
  // Calls what is due. The driver calls it once a loop turn.
  virtual void run_completions() = 0;
  // False: nothing survives the process; a dead worker's sessions are gone and need not be waited for.
  virtual bool durable() const = 0;
};

}  // namespace store
