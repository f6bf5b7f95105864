// A process's store in the simulation: batches reach the slot's disk, in their order, when the scheduler likes, and
// their completions come when it likes after that. A process that dies takes with it what had not reached the disk.
// Now and then the disk hangs; where settings ask for it, commits fail as well: they are tried again until they
// succeed, and health() says so meanwhile.
#pragma once

#include <deque>

#include "shared/base/random.h"
#include "shared/store/memory_store.h"

namespace sim {

class SimStore final : public store::Store {
 public:
  SimStore(base::Random& random, store::MemoryStore::Disk& disk, bool fails)
      : random_(random), disk_(disk), fails_(fails) {}
  void load(const store::Visit& visit) override;
  bool read_on(std::string& after, size_t bytes, const store::Visit& visit) override {
    return store::MemoryStore::read_disk_on(disk_, after, bytes, visit);
  }
  void commit(store::Batch batch, store::Completion done) override;
  void run_completions() override;
  bool pending() const override { return !waiting_.empty(); }
  store::Health health() const override { return health_; }

  // The process dies: some of what waits reaches the disk, nobody hears of it.
  void die();
  // Nothing reaches the disk for so many turns.
  void hang(uint64_t turns) { stalled_ = turns; }
  // From now on it is only slow.
  void heal();
  // health() has been bad.
  bool has_failed() const { return has_failed_; }

 private:
  struct Waiting {
    store::Batch batch;
    store::Completion done;
  };
  void write(size_t count);
  void stall();

  base::Random& random_;
  store::MemoryStore::Disk& disk_;
  std::deque<Waiting> waiting_;
  bool fails_;
  bool has_failed_ = false;
  store::Health health_ = store::Health::ok;
  uint64_t stalled_ = 0;  // turns
  size_t written_ = 0;    // of waiting_, from the front: on the disk, completion to come
};

}  // namespace sim
