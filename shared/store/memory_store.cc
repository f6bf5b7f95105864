#include "shared/store/memory_store.h"

#include <utility>

namespace store {

void MemoryStore::commit(Batch batch, Completion done) {
  const Status status = std::exchange(next_, Status::ok);
  if (status == Status::ok) {
    for (Change& change : batch) {
      if (change.erase) {
        content_.erase(change.key);
      } else {
        content_[std::move(change.key)] = std::move(change.value);
      }
    }
  }
  due_.push_back({std::move(done), status});
}

void MemoryStore::run_completions() {
  if (options_.hold) return;
  // A completion may commit again; that one is for the next turn.
  for (Due& due : std::exchange(due_, {})) {
    if (due.done) due.done(due.status);
  }
}

}  // namespace store
