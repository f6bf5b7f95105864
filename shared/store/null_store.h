// A store that keeps nothing, for a process that has nothing to keep: a commit is done in the next turn.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "shared/store/store.h"

namespace store {

class NullStore final : public Store {
 public:
  // `wake`: run_completions() has something to do. Called by commit().
  explicit NullStore(std::function<void()> wake = {}) : wake_(std::move(wake)) {}

  void load(const Visit&) override {}
  bool read_on(std::string&, size_t, const Visit&) override { return false; }
  void commit(Batch, Completion done) override {
    waiting_.push_back(std::move(done));
    if (wake_) wake_();
  }
  void run_completions() override {
    // A completion may commit again; that one is for the next turn.
    for (size_t n = waiting_.size(); n > 0; --n) {
      const Completion next = std::move(waiting_.front());
      waiting_.pop_front();
      if (next) next();
    }
  }
  bool pending() const override { return !waiting_.empty(); }
  Health health() const override { return Health::ok; }

 private:
  std::function<void()> wake_;
  std::deque<Completion> waiting_;
};

}  // namespace store
