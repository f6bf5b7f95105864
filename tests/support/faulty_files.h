// The files of a RocksDB, with faults: no space, failing writes, failing syncs.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <memory>
#include <string>

namespace support {

enum class Fault : int { none, no_space, write_error, sync_error };

class FaultyFiles final : public rocksdb::FileSystemWrapper {
 public:
  FaultyFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultyFiles"; }

  void set(Fault fault) { fault_ = fault; }
  // What an append or a sync meets now.
  rocksdb::IOStatus on_write() const;
  rocksdb::IOStatus on_sync();
  int syncs() const { return syncs_; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* result,
                                       rocksdb::IODebugContext* debug) override;

 private:
  std::atomic<Fault> fault_{Fault::none};
  std::atomic<int> syncs_{0};
};

// An Env on such files.
struct FaultyEnv {
  std::shared_ptr<FaultyFiles> files = std::make_shared<FaultyFiles>();
  std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
};

}  // namespace support
