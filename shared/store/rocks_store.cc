#include "shared/store/rocks_store.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace store {
namespace {

using std::chrono::milliseconds;

// One write is at most about this large, so that those behind it do not wait for it too long.
constexpr size_t kGroupBytes = 4 * 1024 * 1024;
constexpr size_t kGroupBatches = 4096;
constexpr uint64_t kLoadStep = 1024;  // records between two calls of `progress`
// The part of max_size that is written beyond it.
constexpr uint64_t kReservePart = 8;
// Below max_size by this part a full store has space again; or it would change its mind with each batch.
constexpr uint64_t kSlackPart = 20;
// Erased records, or the space of erased ones, that are worth a new table once the store is quiet for so many looks:
// with less than so many changes (never none, see broker::Records::write_alive).
constexpr uint64_t kWorthFlushing = 1000;
constexpr uint64_t kWorthFlushingBytes = 4 * 1024 * 1024;
constexpr uint64_t kQuietLooks = 4;
constexpr uint64_t kQuietChanges = 100;
// Giving space back may take this part of the time, if it takes long.
constexpr uint64_t kCompactionPart = 5;
constexpr const char* kMaxSizeReached = "store.max_size is reached";

}  // namespace

class RocksStore::Periodic {
 public:
  Periodic(uint64_t every_ms, std::function<void()> fn)
      : every_(every_ms), fn_(std::move(fn)), thread_([this] { run(); }) {}
  ~Periodic() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, every_, [this] { return stop_; })) {
      lock.unlock();
      fn_();
      lock.lock();
    }
  }

  const milliseconds every_;
  const std::function<void()> fn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread thread_;
};

RocksStore::RocksStore(Options options) : options_(std::move(options)) {
  db_ = std::make_unique<RocksDb>(
      RocksDb::Options{options_.path, options_.layout, false, options_.max_size, options_.env});
  measure();
  committer_ = std::thread([this] { commit_loop(); });
  if (options_.sync == Sync::process) {
    syncer_ = std::make_unique<Periodic>(options_.sync_every_ms, [this] { sync_log(); });
  }
  keeper_ = std::make_unique<Periodic>(options_.look_every_ms, [this] { look_after_space(); });
}

RocksStore::~RocksStore() {
  keeper_.reset();
  syncer_.reset();
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wanted_.notify_one();
  committer_.join();
  if (db_ && !broken_ && options_.sync == Sync::process) (void)db_->sync();
}

void RocksStore::load(const Visit& visit) {
  const std::shared_lock lock(db_mutex_);
  uint64_t count = 0;
  db_->for_each({}, [&](std::string_view key, std::string_view value) {
    visit(key, value);
    if (++count % kLoadStep == 0 && options_.progress) options_.progress();
    return true;
  });
}

bool RocksStore::read_on(std::string& after, size_t bytes, const Visit& visit) {
  const std::shared_lock lock(db_mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !db_) return true;  // it is being opened anew
  size_t read = 0;
  bool more = false;
  try {
    db_->for_each_behind(after, [&](std::string_view key, std::string_view value) {
      more = read >= bytes;
      if (more) return false;
      visit(key, value);
      after = key;
      read += key.size() + value.size();
      return true;
    });
  } catch (const Error&) {
    return true;
  }
  return more;
}

// --- the loop's side ---

void RocksStore::commit(Batch batch, Completion done) {
  ++outstanding_;
  pending_bytes_ += batch.bytes();
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    wake = queue_.empty();
    queue_.push_back({std::move(batch), std::move(done)});
  }
  if (wake) wanted_.notify_one();
}

bool RocksStore::due() const {
  const std::lock_guard lock(mutex_);
  return !done_.empty();
}

void RocksStore::run_completions() {
  std::vector<Completion> due;
  {
    const std::lock_guard lock(mutex_);
    due.swap(done_);
  }
  for (const Completion& done : due) {
    --outstanding_;
    if (done) done();
  }
}

std::string RocksStore::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

RocksStore::Statistics RocksStore::statistics() const {
  Statistics s;
  s.commits = commits_;
  s.writes = writes_;
  s.written_bytes = written_bytes_;
  s.pending_bytes = pending_bytes_;
  s.size = size_;
  return s;
}

// --- committer ---

void RocksStore::commit_loop() {
  while (take_group()) write_group();
}

// Waits for something to do. False: the store is closed, and nothing is left that can be written.
bool RocksStore::take_group() {
  std::unique_lock lock(mutex_);
  wanted_.wait(lock, [this] { return stop_ || broken_ || !queue_.empty(); });
  size_t bytes = 0;
  while (!queue_.empty() && bytes < kGroupBytes && group_.size() < kGroupBatches) {
    // Batches that put and batches that erase do not share a group when it matters which they are.
    if (!group_.empty() && beyond_reserve()) break;
    bytes += queue_.front().batch.bytes();
    group_.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return !stop_ || !group_.empty();
}

void RocksStore::write_group() {
  while (!attempt()) {
    if (wait_for_retry()) continue;
    group_.clear();  // closed meanwhile: never acknowledged
    const std::lock_guard lock(mutex_);
    queue_.clear();
    return;
  }
  finish_group();
}

// False: the group has to wait.
bool RocksStore::attempt() {
  if ((broken_ || !db_) && !reopen()) return false;
  if (group_.empty()) return true;
  const bool erases = std::ranges::all_of(group_, [](const Waiting& w) { return w.batch.only_erases(); });
  if (beyond_reserve() && !erases && !std::exchange(trickled_, true)) return false;
  std::vector<const Batch*> batches;
  for (const Waiting& waiting : group_) batches.push_back(&waiting.batch);
  RocksDb::Outcome outcome;
  {
    const std::shared_lock lock(db_mutex_);
    outcome = db_->write(batches, options_.sync == Sync::always);
  }
  report(outcome);
  // What a failed write has left in the log nobody knows; opening it again finds out. Writing the group once more on
  // top of it changes nothing: it puts and erases what is there already.
  if (!outcome.ok()) broken_ = true;
  return outcome.ok();
}

void RocksStore::finish_group() {
  if (group_.empty()) return;
  trickled_ = false;
  uint64_t bytes = 0;
  uint64_t changes = 0;
  uint64_t erases = 0;
  for (const Waiting& waiting : group_) {
    bytes += waiting.batch.bytes();
    changes += waiting.batch.changes();
    erases += waiting.batch.changes() - waiting.batch.puts();
  }
  commits_ += group_.size();
  ++writes_;
  written_bytes_ += bytes;
  pending_bytes_ -= bytes;
  changes_ += changes;
  erases_ += erases;
  // Measuring comes later; the broker should know at once.
  if (health_ == Health::ok && options_.max_size != 0 && estimated_size() >= options_.max_size)
    set_trouble(Health::full, kMaxSizeReached);
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    wake = done_.empty();
    for (Waiting& waiting : group_) done_.push_back(std::move(waiting.done));
  }
  group_.clear();
  if (wake && options_.wake) options_.wake();
}

// False: the store is being closed.
bool RocksStore::wait_for_retry() {
  std::unique_lock lock(mutex_);
  return !wanted_.wait_for(lock, milliseconds(options_.retry_every_ms), [this] { return stop_; });
}

uint64_t RocksStore::estimated_size() const {
  return size_ + (written_bytes_ - written_at_measuring_);
}

bool RocksStore::beyond_reserve() const {
  return options_.max_size != 0 && estimated_size() > options_.max_size + options_.max_size / kReservePart;
}

bool RocksStore::reopen() {
  const std::unique_lock lock(db_mutex_);
  try {
    db_.reset();
    db_ = std::make_unique<RocksDb>(
        RocksDb::Options{options_.path, options_.layout, false, options_.max_size, options_.env});
    // After a failed sync the kernel may have dropped what it could not write, and says so only once: what the log held
    // goes into a table.
    const RocksDb::Outcome flushed = db_->flush();
    report(flushed);
    broken_ = !flushed.ok();
    return flushed.ok();
  } catch (const Error& error) {
    if (!failing_) set_trouble(Health::failing, error.what());
    return false;
  }
}

// --- syncer and keeper ---

void RocksStore::sync_log() {
  const std::shared_lock lock(db_mutex_);
  const uint64_t writes = writes_;
  if (!db_ || broken_ || writes == writes_synced_) return;
  const RocksDb::Outcome outcome = db_->sync();
  if (outcome.ok()) {
    writes_synced_ = writes;
    return;
  }
  report(outcome);
  {
    const std::lock_guard waking(mutex_);
    broken_ = true;
  }
  wanted_.notify_one();
}

void RocksStore::measure() {
  const uint64_t written = written_bytes_;
  size_ = directory_bytes(options_.path);
  written_at_measuring_ = written;
  if (options_.max_size == 0 || failing_) return;
  if (size_ >= options_.max_size) {
    set_trouble(Health::full, kMaxSizeReached);
  } else if (health_ == Health::full && size_ < options_.max_size - options_.max_size / kSlackPart) {
    set_trouble(Health::ok, "");
  }
}

void RocksStore::look_after_space() {
  measure();
  const uint64_t changes = changes_;
  quiet_looks_ = changes - changes_seen_ < kQuietChanges ? quiet_looks_ + 1 : 0;
  changes_seen_ = changes;
  if (looks_until_compaction_ > 0) --looks_until_compaction_;
  const std::shared_lock lock(db_mutex_);
  if (!db_ || broken_ || failing_) return;
  if (health_ == Health::full) return reclaim();
  // Tombstones free nothing while they are in memory only, and no write may come that moves them on.
  const uint64_t erases = erases_;
  if (quiet_looks_ >= kQuietLooks && worth_flushing(erases - erases_rotated_) && db_->rotate().ok()) {
    erases_rotated_ = erases;
  }
}

// How large the erased ones were nobody knows; they are taken for as large as all are on average.
bool RocksStore::worth_flushing(uint64_t erased) const {
  if (erased == 0 || erased >= kWorthFlushing) return erased != 0;
  return size_ / (db_->records() + erased) * erased >= kWorthFlushingBytes;
}

// At one look what is in memory goes to a table, at the next the tables are rewritten.
void RocksStore::reclaim() {
  const uint64_t changes = changes_;
  if (looks_until_compaction_ > 0 || (!rotated_ && changes == changes_compacted_)) return;
  if (!rotated_) {
    rotated_ = db_->rotate().ok();
    changes_compacted_ = changes;
    return;
  }
  const auto begun = std::chrono::steady_clock::now();
  rotated_ = false;
  if (!db_->compact().ok()) return;
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun);
  looks_until_compaction_ = static_cast<uint64_t>(took.count()) * kCompactionPart / options_.look_every_ms;
  measure();
}

// --- trouble ---

void RocksStore::report(const RocksDb::Outcome& outcome) {
  if (!outcome.ok()) {
    failing_ = true;
    set_trouble(outcome.health, outcome.error);
  } else if (failing_.exchange(false)) {
    set_trouble(Health::ok, "");
  }
}

void RocksStore::set_trouble(Health health, const std::string& why) {
  const std::lock_guard lock(mutex_);
  trouble_ = why;
  health_ = health;
}

}  // namespace store
