// A file system that remembers what was done to it, operation by operation, and can say what a power cut at any moment
// would have left of a directory.
//
// What a disk owes us after a power cut: bytes that were synced, and names whose directory was synced. What was written
// since may be there in part: each block of 4 KiB on its own, in any order, a block that is not there reading as zeros;
// a file may be shorter. A name that was made, renamed or removed since may be in its old or its new state,
// independently of others (the worst that any file system does).
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shared/base/random.h"

namespace support {

class RecordedFiles final : public rocksdb::FileSystemWrapper {
 public:
  RecordedFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "RecordedFiles"; }

  // The process dies: what it still tries fails and leaves no trace. revive() is the start of the next one.
  void die() { dead_ = true; }
  void revive() { dead_ = false; }

  // How many operations there have been.
  size_t now() const;
  // Writes what a power cut after that many operations leaves into `directory`, which is made.
  void cut(size_t moment, base::Random& random, const std::string& directory) const;

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* result,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomRWFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* result,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  friend class RecordedFile;
  friend class RecordedRandomFile;
  friend class RecordedDirectory;

  enum class What { make, write, truncate, sync, rename, remove, sync_directory };
  struct Operation {
    What what;
    uint64_t inode = 0;
    std::string name;  // without the directory
    std::string to;
    uint64_t offset = 0;
    std::string bytes;
  };
  class Disk;

  // Fails once the process is dead.
  rocksdb::IOStatus alive() const;
  void record(Operation operation);
  uint64_t inode_of(const std::string& path) const;
  uint64_t make_inode(const std::string& path);

  std::atomic<bool> dead_{false};
  mutable std::mutex mutex_;
  std::vector<Operation> operations_;
  std::map<std::string, uint64_t> inodes_;  // by name
  uint64_t last_inode_ = 0;
};

}  // namespace support
