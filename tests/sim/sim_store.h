// A store in memory whose completions come when the scheduler likes, in the order of the batches.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "shared/base/random.h"
#include "shared/store/store.h"

namespace sim {

class SimStore final : public store::Store {
 public:
  explicit SimStore(base::Random& random) : random_(random) {}
  void commit(store::Batch batch, store::Completion done) override;
  void run_completions() override;
  bool durable() const override { return false; }
  bool idle() const { return waiting_.empty(); }

 private:
  base::Random& random_;
  std::map<std::string, std::string> records_;
  std::deque<store::Completion> waiting_;
};

}  // namespace sim
