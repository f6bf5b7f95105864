#include "tests/sim/sim_store.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {
// A disk that hangs now and then. What fails does so more often, and for longer.
constexpr uint64_t kStallOneIn = 300;  // turns
constexpr uint64_t kFailOneIn = 150;
constexpr uint64_t kStallTurns = 100;
constexpr uint64_t kFailTurns = 200;
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

void SimStore::stall() {
  if (random_.one_in(kStallOneIn)) stalled_ = random_.below(kStallTurns);
  if (!fails_ || !random_.one_in(kFailOneIn)) return;
  stalled_ = 1 + random_.below(kFailTurns);
  health_ = random_.one_in(2) ? store::Health::full : store::Health::failing;
  has_failed_ = true;
}

void SimStore::heal() {
  fails_ = false;
  stalled_ = 0;
  health_ = store::Health::ok;
}

void SimStore::run_completions() {
  if (stalled_ == 0) stall();
  if (stalled_ > 0) {
    --stalled_;
    return;
  }
  health_ = store::Health::ok;
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
