#include "tests/sim/sim_store.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {
// A disk that hangs now and then.
constexpr uint64_t kStallOneIn = 300;  // turns
constexpr uint64_t kStallTurns = 100;
}  // namespace

void SimStore::load(const store::Visit& visit) {
  for (const auto& [key, value] : disk_) visit(key, value);
}

void SimStore::commit(store::Batch batch, store::Completion done) {
  waiting_.push_back({std::move(batch), std::move(done)});
}

void SimStore::write(size_t count) {
  for (; written_ < count; ++written_) store::apply(waiting_[written_].batch, disk_);
}

void SimStore::run_completions() {
  if (stalled_ == 0 && random_.one_in(kStallOneIn)) stalled_ = random_.below(kStallTurns);
  if (stalled_ > 0) {
    --stalled_;
    return;
  }
  write(std::max(written_, static_cast<size_t>(random_.below(waiting_.size() + 1))));
  for (size_t n = random_.below(written_ + 1); n > 0; --n) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    --written_;
    if (next.done) next.done();
  }
}

void SimStore::die() {
  write(std::max(written_, static_cast<size_t>(random_.below(waiting_.size() + 1))));
  waiting_.clear();
  written_ = 0;
}

}  // namespace sim
