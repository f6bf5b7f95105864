// A store in memory, for tests: slow, full or broken when they say so. What is committed lies in a Disk, which outlives
// the store as a disk outlives a process.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "shared/store/store.h"

namespace store {

class MemoryStore final : public Store {
 public:
  using Disk = std::map<std::string, std::string, std::less<>>;
  MemoryStore() : disk_(own_) {}
  explicit MemoryStore(Disk& disk) : disk_(disk) {}

  void load(const Visit& visit) override;
  bool read_on(std::string& after, size_t bytes, const Visit& visit) override {
    return read_disk_on(disk_, after, bytes, visit);
  }
  void commit(Batch batch, Completion done) override;
  void run_completions() override;
  bool pending() const override { return !waiting_.empty(); }
  Health health() const override { return health_; }

  // Something is due: run_completions() would call it.
  bool due() const { return !waiting_.empty() && !held_; }

  // --- faults ---
  // Batches reach the disk, and completions come, after release().
  void hold() { held_ = true; }
  void release() { held_ = false; }
  void set_health(Health health) { health_ = health; }
  const Disk& disk() const { return disk_; }
  static bool read_disk_on(const Disk& disk, std::string& after, size_t bytes, const Visit& visit);

 private:
  struct Waiting {
    Batch batch;
    Completion done;
  };
  Disk own_;
  Disk& disk_;
  std::deque<Waiting> waiting_;
  bool held_ = false;
  Health health_ = Health::ok;
};

// Applies a batch to a disk.
void apply(const Batch& batch, MemoryStore::Disk& disk);

}  // namespace store
