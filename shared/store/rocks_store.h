// The store of a worker on RocksDB (rocks_db.h). The loop only queues and collects; three threads work for it:
//
//   loop ──commit()──> queue ──> committer: takes all that is queued, merges it into one write ──> done ──wake──> loop
//                                  │ what fails is tried again, in order, after the database was opened anew
//   syncer: once a second, syncs the log (Sync::process)        keeper: measures the directory, gives space back
//
// Sync::process: a completion means that the write reached the kernel, so the death of any process loses nothing; a
// power cut may lose about the last second. Sync::always: a completion means that it is on disk; whatever came in
// during one sync is one group for the next.
//
// A commit never fails. When the disk is full, or a write fails, batches wait and are tried again. At `max_size`
// health() says full, but what is committed is still written, up to a reserve beyond it: clients that empty their
// queues make records too (packet ids), and without those nothing would ever be erased. Beyond the reserve only batches
// that erase are written; others wait, and what comes behind them with them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "shared/store/rocks_db.h"
#include "shared/store/store.h"

namespace store {

class RocksStore final : public Store {
 public:
  enum class Sync : uint8_t { process, always };
  struct Options {
    std::string path;
    Layout layout;
    Sync sync = Sync::process;
    uint64_t max_size = 0;           // bytes of the directory; 0: unlimited
    std::function<void()> wake;      // called from another thread: run_completions() has something to do
    std::function<void()> progress;  // called from load() now and then
    rocksdb::Env* env = nullptr;     // null: the real one
    uint64_t sync_every_ms = 1000;
    uint64_t look_every_ms = 500;
    uint64_t retry_every_ms = 200;
  };
  // Throws Error.
  explicit RocksStore(Options options);
  // Writes what is queued, unless it fails, and syncs.
  ~RocksStore() override;

  void load(const Visit& visit) override;
  bool read_on(std::string& after, size_t bytes, const Visit& visit) override;
  void commit(Batch batch, Completion done) override;
  void run_completions() override;
  bool pending() const override { return outstanding_ > 0; }
  Health health() const override { return health_.load(std::memory_order_relaxed); }

  // run_completions() would call something.
  bool due() const;
  // Why health() is not ok, for the log.
  std::string trouble() const;

  struct Statistics {
    uint64_t commits = 0;  // completed batches
    uint64_t writes = 0;   // that they were merged into
    uint64_t written_bytes = 0;
    uint64_t pending_bytes = 0;  // committed and not completed
    uint64_t size = 0;           // bytes of the directory
  };
  Statistics statistics() const;

 private:
  struct Waiting {
    Batch batch;
    Completion done;
  };
  // Calls a function every so often in a thread of its own.
  class Periodic;

  // --- committer ---
  void commit_loop();
  bool take_group();
  void write_group();
  bool attempt();
  void finish_group();
  bool wait_for_retry();
  uint64_t estimated_size() const;
  bool beyond_reserve() const;
  bool reopen();

  // --- syncer and keeper ---
  void sync_log();
  void look_after_space();
  bool worth_flushing(uint64_t erased) const;
  void reclaim();
  void measure();

  void set_trouble(Health health, const std::string& why);
  void report(const RocksDb::Outcome& outcome);

  const Options options_;
  // Shared: to use the database. Exclusive: to replace it. Null while it cannot be opened.
  mutable std::shared_mutex db_mutex_;
  std::unique_ptr<RocksDb> db_;

  mutable std::mutex mutex_;
  std::condition_variable wanted_;   // committer: something is queued, or it is time to stop
  std::deque<Waiting> queue_;        // by mutex_
  std::vector<Completion> done_;     // by mutex_
  std::string trouble_;              // by mutex_
  bool stop_ = false;                // by mutex_
  uint64_t outstanding_ = 0;         // the loop's
  std::vector<Waiting> group_;       // the committer's
  bool trickled_ = false;            // the committer's: this group has waited for its turn
  std::atomic<bool> broken_{false};  // a write or sync failed: the database has to be opened anew
  std::atomic<Health> health_{Health::ok};
  std::atomic<bool> failing_{false};  // writing fails, whatever the size is

  std::atomic<uint64_t> commits_{0};
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> written_bytes_{0};
  std::atomic<uint64_t> pending_bytes_{0};
  std::atomic<uint64_t> size_{0};                  // when it was measured
  std::atomic<uint64_t> written_at_measuring_{0};  // written_bytes_ at that time
  std::atomic<uint64_t> changes_{0};
  std::atomic<uint64_t> erases_{0};

  uint64_t writes_synced_ = 0;  // the syncer's

  // The keeper's.
  uint64_t erases_rotated_ = 0;
  uint64_t changes_compacted_ = 0;
  bool rotated_ = false;  // since the last compaction
  uint64_t looks_until_compaction_ = 0;
  uint64_t quiet_looks_ = 0;
  uint64_t changes_seen_ = 0;

  std::thread committer_;
  std::unique_ptr<Periodic> syncer_;
  std::unique_ptr<Periodic> keeper_;
};

}  // namespace store
