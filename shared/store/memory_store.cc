#include "shared/store/memory_store.h"

#include <utility>

namespace store {

void apply(const Batch& batch, MemoryStore::Disk& disk) {
  batch.for_each([&disk](bool erase, std::string_view key, std::string_view value) {
    if (!erase) {
      disk.insert_or_assign(std::string(key), std::string(value));
    } else if (const auto it = disk.find(key); it != disk.end()) {
      disk.erase(it);
    }
  });
}

void MemoryStore::load(const Visit& visit) {
  for (const auto& [key, value] : disk_) visit(key, value);
}

bool MemoryStore::read_disk_on(const Disk& disk, std::string& after, size_t bytes, const Visit& visit) {
  size_t read = 0;
  for (auto it = disk.upper_bound(after); it != disk.end(); ++it) {
    if (read >= bytes) return true;
    visit(it->first, it->second);
    after = it->first;
    read += it->first.size() + it->second.size();
  }
  return false;
}

void MemoryStore::commit(Batch batch, Completion done) {
  waiting_.push_back({std::move(batch), std::move(done)});
}

void MemoryStore::run_completions() {
  if (held_) return;
  // A completion may commit again; that one is for the next turn.
  for (size_t n = waiting_.size(); n > 0; --n) {
    if (health_ != Health::ok && !waiting_.front().batch.only_erases()) return;
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    apply(next.batch, disk_);
    if (next.done) next.done();
  }
}

}  // namespace store
