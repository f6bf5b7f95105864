#include "shared/store/rocks_db.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/version.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace store {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMiB = 1024 * 1024;
// A log of this size is changed. What is not in a table yet has to be read again after kill -9: 8 MiB take about 0.1 s,
// 32 MiB 0.4 to 0.7 s, and writing is no slower, since most of what is written is erased again soon.
constexpr uint64_t kLogBytes = 8 * kMiB;
constexpr uint64_t kSmallestLog = 256 * 1024;
// What RocksDB may keep before it changes logs by itself: more than there ever is.
constexpr uint64_t kNever = uint64_t{1} << 40;

rocksdb::Slice slice(std::string_view text) {
  return {text.data(), text.size()};
}
std::string_view view(const rocksdb::Slice& text) {
  return {text.data(), text.size()};
}

rocksdb::BlockBasedTableOptions table_options() {
  rocksdb::BlockBasedTableOptions table;
  // A store is read once, when it is loaded, from its beginning to its end.
  table.block_cache = rocksdb::NewLRUCache(kMiB);
  table.block_size = 16 * 1024;
  return table;
}

rocksdb::Options rocks_options(const RocksDb::Options& from) {
  rocksdb::Options o;
  if (from.env != nullptr) o.env = from.env;
  o.max_total_wal_size = kNever;
  o.write_buffer_size = kNever;
  o.arena_block_size = 256 * 1024;
  o.max_write_buffer_number = 3;
  o.max_background_jobs = 2;
  o.avoid_flush_during_recovery = true;
  o.avoid_flush_during_shutdown = true;
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  o.max_bgerror_resume_count = 0;  // we recover, see rocks_store.h
  o.allow_fallocate = false;       // or each log takes its largest size from the disk at once
  // Spread what the kernel has to write, or each sync stops for megabytes.
  o.wal_bytes_per_sync = kMiB;
  o.bytes_per_sync = kMiB;
  // There is one writer.
  o.allow_concurrent_memtable_write = false;
  o.enable_write_thread_adaptive_yield = false;
  // Most of what is written is erased soon: tables of tombstones are merged away without waiting for their turn.
  o.table_properties_collector_factories = {rocksdb::NewCompactOnDeletionCollectorFactory(1024, 512, 0.25)};
  o.level_compaction_dynamic_level_bytes = true;
  o.compression = rocksdb::kNoCompression;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options()));
  o.max_open_files = 256;
  o.max_manifest_file_size = kMiB;
  o.skip_stats_update_on_db_open = true;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.max_log_file_size = 256 * 1024;
  o.keep_log_file_num = 2;
  return o;
}

uint64_t log_bytes(uint64_t max_size) {
  return max_size == 0 ? kLogBytes : std::clamp(max_size / 16, kSmallestLog, kLogBytes);
}

rocksdb::ReadOptions scan_options() {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  read.readahead_size = 2 * kMiB;
  return read;
}

RocksDb::Outcome outcome(const rocksdb::Status& status) {
  if (status.ok()) return {};
  return {status.IsNoSpace() ? Health::full : Health::failing, status.ToString()};
}

bool says(const rocksdb::Status& status, std::string_view words) {
  return status.ToString().find(words) != std::string::npos;
}

// What the operator needs to know about a directory that may not be used.
std::string owner_of(const std::string& path) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return std::strerror(errno);
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(file.st_mode & 07777));
  return "a file of user " + std::to_string(file.st_uid) + " with mode " + mode;
}

Error no_rights(const std::string& path, const std::string& what) {
  return Error(path, what + " (" + owner_of(path) + ")",
               "everything in it to belong to user " + std::to_string(geteuid()) + ", whom this process runs as");
}

Error cannot_open(const std::string& path, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (status.IsIOError() && (says(status, "lock ") || says(status, "LOCK: ")) && !says(status, "Permission denied")) {
    return Error(path, "it in use by another process (" + text + ")", "to be its only user");
  }
  if (says(status, "Permission denied")) return no_rights(path, text);
  if (status.IsNoSpace()) return Error(path, text, "space on its disk");
  if (status.IsCorruption() || status.IsNotSupported() || status.IsInvalidArgument() || status.IsPathNotFound() ||
      status.IsNotFound()) {
    return Error(path, "damage or a newer RocksDB's files (" + text + ")",
                 "files written by RocksDB " + std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) +
                     " or older, none missing or changed");
  }
  return Error(path, text, "to open it");
}

// A log that is gone meanwhile has been replaced by a table, which is synced.
rocksdb::Status sync_file(rocksdb::Env& env, const std::string& path) {
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env.ReopenWritableFile(path, &file, rocksdb::EnvOptions());
  if (status.ok()) status = file->Sync();
  return status.ok() || !env.FileExists(path).ok() ? rocksdb::Status::OK() : status;
}

// "synced": a sequence number and its complement, so that a number that is not whole is not believed.
constexpr const char* kSyncedFile = "/synced";

std::string synced_bytes(uint64_t sequence) {
  std::string bytes;
  for (const uint64_t number : {sequence, ~sequence}) {
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  return bytes;
}

}  // namespace

struct RocksDb::Handle {
  rocksdb::Env* env = nullptr;
  std::unique_ptr<rocksdb::DB> db;
  std::unique_ptr<rocksdb::RandomRWFile> synced;
};

std::string store_directory(const std::string& data_dir) {
  return data_dir + "/store";
}

std::string slot_directory(const std::string& data_dir, uint32_t slot) {
  return store_directory(data_dir) + "/slot-" + std::to_string(slot);
}

uint64_t directory_bytes(const std::string& path) {
  uint64_t sum = 0;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;  // RocksDB may have removed it meanwhile
    const uint64_t size = it->file_size(gone);
    if (!gone) sum += size;
  }
  return sum;
}

RocksDb::RocksDb(const Options& options)
    : options_(options), db_(std::make_unique<Handle>()), log_bytes_(log_bytes(options.max_size)) {
  db_->env = options_.env != nullptr ? options_.env : rocksdb::Env::Default();
  if (options_.layout && !options_.read_only) make_directory();
  open();
  check_format();
  check_synced();
}

RocksDb::~RocksDb() = default;

void RocksDb::make_directory() const {
  const std::string parent = fs::path(options_.path).parent_path();
  for (const std::string& directory : {parent, options_.path}) {
    if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
      throw Error(options_.path, "that " + directory + " cannot be made (" + std::strerror(errno) + ")",
                  "to be allowed to make it");
    }
  }
}

void RocksDb::open() {
  const std::string& path = options_.path;
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) throw Error(path, "nothing", "a store");
  const int wanted = options_.read_only ? R_OK | X_OK : R_OK | W_OK | X_OK;
  if (access(path.c_str(), wanted) != 0) throw no_rights(path, std::strerror(errno));
  rocksdb::Options options = rocks_options(options_);
  // A store that had been made, and has lost the file that names its parts, is not a new one.
  const bool made = db_->env->FileExists(path + kSyncedFile).ok();
  const bool current = db_->env->FileExists(path + "/CURRENT").ok();
  if (made && !current) throw Error(path, "no file CURRENT beside \"synced\"", "the files of a store, none missing");
  options.create_if_missing = options_.layout.has_value();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      options_.read_only ? rocksdb::DB::OpenForReadOnly(options, path, &db) : rocksdb::DB::Open(options, path, &db);
  if (!status.ok()) throw cannot_open(path, status);
  db_->db.reset(db);
}

void RocksDb::check_format() {
  std::string key;
  meta_key(key, "format");
  const std::optional<std::string> format = get(key);
  if (!format) {
    bool empty = true;
    for_each({}, [&](auto, auto) { return empty = false; });
    if (!empty || !options_.layout || options_.read_only) {
      throw Error(options_.path, "no format record",
                  "a store of mqtt-master, format " + std::to_string(kFormatVersion));
    }
    return create();
  }
  uint32_t version = 0;
  if (!decode_version(*format, version) || version < kOldestFormat || version > kFormatVersion) {
    throw Error(options_.path, "format " + std::to_string(version) + (version > kFormatVersion ? " (newer)" : ""),
                "format " + std::to_string(kFormatVersion));
  }
  meta_key(key, "layout");
  const std::optional<std::string> layout = get(key);
  if (!layout || !decode(*layout, layout_)) throw Error(options_.path, "no layout record", "its slot and their number");
  if (!options_.layout) return;
  const auto name = [](const Layout& l) { return "slot " + std::to_string(l.slot) + " of " + std::to_string(l.slots); };
  if (layout_.slot != options_.layout->slot || layout_.slots != options_.layout->slots) {
    throw Error(options_.path, "the store of " + name(layout_), "that of " + name(*options_.layout));
  }
  if (version != kFormatVersion && !options_.read_only) raise_format();
}

// Before anything that a reader of the older format could not read.
void RocksDb::raise_format() {
  Batch batch;
  std::string key;
  std::string value;
  meta_key(key, "format");
  encode_version(value, kFormatVersion);
  batch.put(key, value);
  const Batch* batches[] = {&batch};
  if (const Outcome raised = write(batches, true); !raised.ok()) {
    throw Error(options_.path, raised.error, "to write to it");
  }
}

void RocksDb::create() {
  layout_ = *options_.layout;
  Batch batch;
  std::string key;
  std::string value;
  meta_key(key, "format");
  encode_version(value, kFormatVersion);
  batch.put(key, value);
  meta_key(key, "layout");
  encode(value, layout_);
  batch.put(key, value);
  const Batch* batches[] = {&batch};
  if (const Outcome made = write(batches, true); !made.ok()) throw Error(options_.path, made.error, "to write to it");
}

void RocksDb::check_synced() const {
  std::string bytes;
  if (!rocksdb::ReadFileToString(db_->env, options_.path + kSyncedFile, &bytes).ok() || bytes.size() != 16) return;
  uint64_t sequence = 0;
  std::memcpy(&sequence, bytes.data(), sizeof sequence);
  if (bytes != synced_bytes(sequence)) return;
  const uint64_t found = db_->db->GetLatestSequenceNumber();
  if (found >= sequence) return;
  throw Error(options_.path,
              "changes up to number " + std::to_string(found) +
                  " only: a log is damaged or missing, and what follows "
                  "the damage cannot be read",
              "all changes up to " + std::to_string(sequence) +
                  ", which had been synced (restore a backup, or remove " + options_.path + kSyncedFile +
                  " to go on without them)");
}

void RocksDb::for_each(std::string_view prefix, const Each& each) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->db->NewIterator(scan_options()));
  for (it->Seek(slice(prefix)); it->Valid() && view(it->key()).starts_with(prefix); it->Next()) {
    if (!each(view(it->key()), view(it->value()))) return;
  }
  if (!it->status().ok()) throw cannot_open(options_.path, it->status());
}

void RocksDb::for_each_behind(const std::string& key, const Each& each) const {
  const std::unique_ptr<rocksdb::Iterator> it(db_->db->NewIterator(scan_options()));
  const std::string from = key + '\0';
  for (it->Seek(slice(from)); it->Valid(); it->Next()) {
    if (!each(view(it->key()), view(it->value()))) return;
  }
  if (!it->status().ok()) throw cannot_open(options_.path, it->status());
}

std::optional<std::string> RocksDb::get(std::string_view key) const {
  std::string value;
  const rocksdb::Status status = db_->db->Get(rocksdb::ReadOptions(), slice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) throw cannot_open(options_.path, status);
  return value;
}

RocksDb::Outcome RocksDb::write(std::span<const Batch* const> batches, bool sync) {
  const std::lock_guard lock(log_mutex_);
  if (!logs_synced_) {
    if (const Outcome synced = this->sync(); !synced.ok()) return synced;
    logs_synced_ = true;
  }
  if (written_ >= log_bytes_) {
    if (const Outcome changed = change_log(false); !changed.ok()) return changed;
  }
  rocksdb::WriteBatch merged;
  for (const Batch* batch : batches) {
    batch->for_each([&merged](bool erase, std::string_view key, std::string_view value) {
      erase ? merged.Delete(slice(key)) : merged.Put(slice(key), slice(value));
    });
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  const rocksdb::Status status = db_->db->Write(options, &merged);
  written_ += merged.GetDataSize();
  if (status.ok() && sync) note_synced(db_->db->GetLatestSequenceNumber());
  return outcome(status);
}

RocksDb::Outcome RocksDb::sync() {
  const std::lock_guard lock(sync_mutex_);
  const uint64_t sequence = db_->db->GetLatestSequenceNumber();
  const Outcome synced = sync_logs();
  if (synced.ok()) note_synced(sequence);
  return synced;
}

// Not DB::SyncWAL(), which takes it for a bug of ours when a write fails meanwhile, and knows only this process's logs.
RocksDb::Outcome RocksDb::sync_logs() {
  std::vector<std::string> names;
  if (const auto status = db_->env->GetChildren(options_.path, &names); !status.ok()) return outcome(status);
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".log"); });
  std::ranges::sort(names);  // by age: their numbers have six digits or, later, more
  std::ranges::stable_sort(names, {}, &std::string::size);
  for (const std::string& name : names) {
    if (synced_logs_.contains(name)) continue;
    if (const rocksdb::Status status = sync_file(*db_->env, options_.path + '/' + name); !status.ok()) {
      return outcome(status);
    }
    if (name != names.back()) synced_logs_.insert(name);
  }
  if (names.empty() || names.back() == synced_newest_) return {};
  std::erase_if(synced_logs_, [&](const std::string& name) { return std::ranges::find(names, name) == names.end(); });
  std::unique_ptr<rocksdb::Directory> directory;
  rocksdb::Status status = db_->env->NewDirectory(options_.path, &directory);
  if (status.ok()) status = directory->Fsync();
  if (status.ok()) synced_newest_ = names.back();
  return outcome(status);
}

// Best effort: without a number there is only less to check against.
void RocksDb::note_synced(uint64_t sequence) {
  const std::string bytes = synced_bytes(sequence);
  const std::string path = options_.path + kSyncedFile;
  if (!db_->synced) {
    if (!db_->env->FileExists(path).ok() && !rocksdb::WriteStringToFile(db_->env, bytes, path).ok()) return;
    if (!db_->env->NewRandomRWFile(path, &db_->synced, rocksdb::EnvOptions()).ok()) return;
  }
  (void)db_->synced->Write(0, bytes);
}

RocksDb::Outcome RocksDb::rotate() {
  const std::lock_guard lock(log_mutex_);
  return change_log(false);
}

RocksDb::Outcome RocksDb::flush() {
  const std::lock_guard lock(log_mutex_);
  return change_log(true);
}

RocksDb::Outcome RocksDb::change_log(bool wait) {
  if (const Outcome synced = sync(); !synced.ok()) return synced;
  rocksdb::FlushOptions options;
  options.wait = wait;
  options.allow_write_stall = true;  // or else it waits for a quiet moment
  const rocksdb::Status status = db_->db->Flush(options);
  written_ = 0;
  return outcome(status);
}

// Not DB::CompactRange(), which changes logs.
RocksDb::Outcome RocksDb::compact() {
  rocksdb::ColumnFamilyMetaData tables;
  db_->db->GetColumnFamilyMetaData(&tables);
  std::vector<std::string> names;
  for (const rocksdb::LevelMetaData& level : tables.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      if (table.being_compacted) return {};  // it is done already
      names.push_back(table.name);
    }
  }
  if (names.empty()) return {};
  const rocksdb::Status status =
      db_->db->CompactFiles(rocksdb::CompactionOptions(), names, static_cast<int>(tables.levels.size()) - 1);
  return status.IsAborted() ? Outcome{} : outcome(status);
}

void RocksDb::verify() const {
  if (const rocksdb::Status status = db_->db->VerifyChecksum(); !status.ok()) throw cannot_open(options_.path, status);
}

uint64_t RocksDb::records() const {
  uint64_t records = 0;
  return db_->db->GetIntProperty(rocksdb::DB::Properties::kEstimateNumKeys, &records) ? records : 0;
}

uint64_t RocksDb::bytes_on_disk() const {
  return directory_bytes(options_.path);
}

}  // namespace store
