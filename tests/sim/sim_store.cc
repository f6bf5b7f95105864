#include "tests/sim/sim_store.h"

namespace sim {

void SimStore::commit(store::Batch batch, store::Completion done) {
  for (store::Change& change : batch) {
    if (change.erase) {
      records_.erase(change.key);
    } else {
      records_[change.key] = std::move(change.value);
    }
  }
  waiting_.push_back(std::move(done));
}

void SimStore::run_completions() {
  for (uint64_t n = random_.below(waiting_.size() + 1); n > 0; --n) {
    const store::Completion done = std::move(waiting_.front());
    waiting_.pop_front();
    if (done) done(store::Status::ok);
  }
}

}  // namespace sim
