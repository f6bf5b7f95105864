// One slot's RocksDB: opened as we need it, refused with a reason when it is not ours or damaged. Thread-safe.
//
// What survives a power cut. RocksDB replays its log up to the first record that is not whole and drops the rest
// (kPointInTimeRecovery), so what comes back is a prefix of the batches, each whole: at least everything before the
// last sync, and no batch without those before it. What may be missing is therefore only what was written after it. A
// log that ends early because its *middle* is damaged looks the same to RocksDB; but here the sequence number of the
// last sync is kept in a file of its own ("synced", written after each sync, itself never synced: an older number is
// only a weaker promise), and a store that comes back with less than that is damaged, and is refused.
//
// RocksDB notices a log that is torn, but not that one is missing, or ends too early at the end of a record, while a
// later one is there. So nothing is written to a log before all those before it are synced: not after kill -9, when the
// last process's logs are replayed but (for a quick start) not rewritten, and not when the log is changed because it
// has become large. That is why RocksDB never changes logs by itself here; rotate() does.
//
// A handle whose write has failed takes nothing any more; open a new one (rocks_store.h does).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "shared/store/error.h"
#include "shared/store/record.h"
#include "shared/store/store.h"

namespace rocksdb {
class Env;
class Status;
}  // namespace rocksdb

namespace store {

// DATA_DIR/store, and the slot's directory in it.
std::string store_directory(const std::string& data_dir);
std::string slot_directory(const std::string& data_dir, uint32_t slot);

class RocksDb {
 public:
  struct Options {
    std::string path;
    // What the store must say it is; a new one is made so. nullopt: any, which must exist.
    std::optional<Layout> layout;
    bool read_only = false;
    uint64_t max_size = 0;        // 0: unlimited; keeps logs and buffers small beside it
    rocksdb::Env* env = nullptr;  // null: the real one
  };
  // Throws Error.
  explicit RocksDb(const Options& options);
  ~RocksDb();
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;

  Layout layout() const { return layout_; }
  // Every record whose key begins with `prefix`, in the order of keys. Throws Error. Return false to stop.
  using Each = std::function<bool(std::string_view key, std::string_view value)>;
  void for_each(std::string_view prefix, const Each& each) const;
  // Every record behind that key.
  void for_each_behind(const std::string& key, const Each& each) const;
  std::optional<std::string> get(std::string_view key) const;

  struct Outcome {
    Health health = Health::ok;
    std::string error;  // empty: it worked
    bool ok() const { return error.empty(); }
  };
  // One write of all of them in their order: all or none survives.
  Outcome write(std::span<const Batch* const> batches, bool sync);
  // All that was written is on disk when it returns.
  Outcome sync();
  // Begins a new log; what the one before held goes to a table in the background.
  Outcome rotate();
  // As rotate(), and waits for the table; writers wait as well.
  Outcome flush();
  // Rewrites the tables without what was erased. Long.
  Outcome compact();
  // Reads every block of every file. Throws Error.
  void verify() const;
  // About how many there are.
  uint64_t records() const;
  // The sum of the files' sizes.
  uint64_t bytes_on_disk() const;

 private:
  struct Handle;
  void make_directory() const;
  void open();
  void check_format();
  void create();
  void raise_format();
  void check_synced() const;
  void note_synced(uint64_t sequence);
  Outcome sync_logs();
  Outcome change_log(bool wait);

  Options options_;
  Layout layout_;
  std::unique_ptr<Handle> db_;
  const uint64_t log_bytes_;
  std::mutex log_mutex_;      // who writes to the log or changes it
  uint64_t written_ = 0;      // to this log, by log_mutex_
  bool logs_synced_ = false;  // those of processes before, by log_mutex_
  std::mutex sync_mutex_;
  std::set<std::string> synced_logs_;  // that nothing is appended to any more
  std::string synced_newest_;          // the newest log at the last sync
};

// The sum of the sizes of the files in a directory.
uint64_t directory_bytes(const std::string& path);

}  // namespace store
