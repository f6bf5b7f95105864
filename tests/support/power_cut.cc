#include "tests/support/power_cut.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

namespace support {

using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSRandomRWFile;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

constexpr uint64_t kBlock = 4096;

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

// --- recording ---

class RecordedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  RecordedFile(RecordedFiles& files, uint64_t inode, uint64_t size, std::unique_ptr<FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), files_(files), inode_(inode), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    const IOStatus status = target()->Append(data, options, debug);
    files_.record({RecordedFiles::What::write, inode_, {}, {}, size_, data.ToString()});
    size_ += data.size();
    return status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    files_.record({RecordedFiles::What::truncate, inode_, {}, {}, size, {}});
    size_ = size;
    return target()->Truncate(size, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    const IOStatus status = target()->Sync(options, debug);
    files_.record({RecordedFiles::What::sync, inode_, {}, {}, 0, {}});
    return status;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return Sync(options, debug); }

 private:
  RecordedFiles& files_;
  const uint64_t inode_;
  uint64_t size_;
};

class RecordedRandomFile final : public rocksdb::FSRandomRWFileOwnerWrapper {
 public:
  RecordedRandomFile(RecordedFiles& files, uint64_t inode, std::unique_ptr<FSRandomRWFile> file)
      : FSRandomRWFileOwnerWrapper(std::move(file)), files_(files), inode_(inode) {}
  IOStatus Write(uint64_t offset, const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    files_.record({RecordedFiles::What::write, inode_, {}, {}, offset, data.ToString()});
    return target()->Write(offset, data, options, debug);
  }

 private:
  RecordedFiles& files_;
  const uint64_t inode_;
};

class RecordedDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  RecordedDirectory(RecordedFiles& files, std::unique_ptr<FSDirectory> directory)
      : FSDirectoryWrapper(std::move(directory)), files_(files) {}
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    const IOStatus status = FSDirectoryWrapper::Fsync(options, debug);
    files_.record({RecordedFiles::What::sync_directory, 0, {}, {}, 0, {}});
    return status;
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& how) override {
    if (const IOStatus alive = files_.alive(); !alive.ok()) return alive;
    const IOStatus status = FSDirectoryWrapper::FsyncWithDirOptions(options, debug, how);
    files_.record({RecordedFiles::What::sync_directory, 0, {}, {}, 0, {}});
    return status;
  }

 private:
  RecordedFiles& files_;
};

IOStatus RecordedFiles::alive() const {
  return dead_ ? IOStatus::IOError("the process is dead") : IOStatus::OK();
}

void RecordedFiles::record(Operation operation) {
  const std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
}

uint64_t RecordedFiles::inode_of(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto it = inodes_.find(base_name(path));
  return it == inodes_.end() ? 0 : it->second;
}

uint64_t RecordedFiles::make_inode(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const uint64_t inode = inodes_[base_name(path)] = ++last_inode_;
  operations_.push_back({What::make, inode, base_name(path), {}, 0, {}});
  return inode;
}

size_t RecordedFiles::now() const {
  const std::lock_guard lock(mutex_);
  return operations_.size();
}

IOStatus RecordedFiles::NewWritableFile(const std::string& name, const FileOptions& options,
                                        std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  if (const IOStatus living = alive(); !living.ok()) return living;
  const IOStatus status = target()->NewWritableFile(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<RecordedFile>(*this, make_inode(name), 0, std::move(*result));
  return status;
}

IOStatus RecordedFiles::ReopenWritableFile(const std::string& name, const FileOptions& options,
                                           std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  if (const IOStatus living = alive(); !living.ok()) return living;
  uint64_t size = 0;
  (void)target()->GetFileSize(name, options.io_options, &size, debug);
  const IOStatus status = target()->ReopenWritableFile(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<RecordedFile>(*this, inode_of(name), size, std::move(*result));
  return status;
}

IOStatus RecordedFiles::NewRandomRWFile(const std::string& name, const FileOptions& options,
                                        std::unique_ptr<FSRandomRWFile>* result, IODebugContext* debug) {
  const IOStatus status = target()->NewRandomRWFile(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<RecordedRandomFile>(*this, inode_of(name), std::move(*result));
  return status;
}

IOStatus RecordedFiles::NewDirectory(const std::string& name, const IOOptions& options,
                                     std::unique_ptr<FSDirectory>* result, IODebugContext* debug) {
  const IOStatus status = target()->NewDirectory(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<RecordedDirectory>(*this, std::move(*result));
  return status;
}

IOStatus RecordedFiles::RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                                   IODebugContext* debug) {
  if (const IOStatus living = alive(); !living.ok()) return living;
  const IOStatus status = target()->RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  inodes_[base_name(to)] = inodes_[base_name(from)];
  inodes_.erase(base_name(from));
  operations_.push_back({What::rename, 0, base_name(from), base_name(to), 0, {}});
  return status;
}

IOStatus RecordedFiles::DeleteFile(const std::string& name, const IOOptions& options, IODebugContext* debug) {
  if (const IOStatus living = alive(); !living.ok()) return living;
  const IOStatus status = target()->DeleteFile(name, options, debug);
  if (!status.ok()) return status;
  const std::lock_guard lock(mutex_);
  inodes_.erase(base_name(name));
  operations_.push_back({What::remove, 0, base_name(name), {}, 0, {}});
  return status;
}

// --- playing back ---

class RecordedFiles::Disk {
 public:
  void apply(const Operation& operation) {
    switch (operation.what) {
      case What::make:
        files_[operation.inode];
        pending_names_.push_back(operation);
        break;
      case What::write:
        files_[operation.inode].unsynced.push_back(&operation);
        break;
      case What::truncate:
        files_[operation.inode].unsynced.push_back(&operation);
        break;
      case What::sync: {
        File& file = files_[operation.inode];
        for (const Operation* change : file.unsynced) put(file.synced, *change);
        file.unsynced.clear();
        break;
      }
      case What::rename:
      case What::remove:
        pending_names_.push_back(operation);
        break;
      case What::sync_directory:
        for (const Operation& change : pending_names_) rename(change);
        pending_names_.clear();
        break;
    }
  }

  // Decides what of the unsynced rest was there, and writes it all to a real directory.
  void write_to(const std::string& directory, base::Random& random) {
    // Names: those of a file system with a journal come back in their order, up to some moment; others one by one.
    const bool ordered = random.one_in(2);
    const uint64_t kept = random.below(pending_names_.size() + 1);
    for (size_t i = 0; i < pending_names_.size(); ++i) {
      if (ordered ? i < kept : random.one_in(2)) rename(pending_names_[i]);
    }
    std::filesystem::create_directories(directory);
    for (const auto& [name, inode] : names_) {
      std::ofstream(directory + '/' + name, std::ios::binary) << content(files_[inode], random);
    }
  }

 private:
  struct File {
    std::string synced;
    std::vector<const Operation*> unsynced;
  };

  static void put(std::string& bytes, const Operation& change) {
    if (change.what == What::truncate) return bytes.resize(change.offset);
    bytes.resize(std::max(bytes.size(), change.offset + change.bytes.size()));
    bytes.replace(change.offset, change.bytes.size(), change.bytes);
  }

  static std::string content(const File& file, base::Random& random) {
    std::string full = file.synced;
    for (const Operation* change : file.unsynced) put(full, *change);
    switch (random.below(4)) {
      case 0:
        return file.synced;
      case 1:
        return full;
      case 2:  // cut anywhere
        full.resize(file.synced.size() + random.below(full.size() - std::min(full.size(), file.synced.size()) + 1));
        return full;
      default:
        break;
    }
    // Blocks, each on its own. A block that was partly synced keeps that part.
    std::string mixed = full;
    for (uint64_t at = 0; at < full.size(); at += kBlock) {
      if (random.one_in(2)) continue;
      for (uint64_t i = at; i < std::min<uint64_t>(at + kBlock, full.size()); ++i) {
        mixed[i] = i < file.synced.size() ? file.synced[i] : '\0';
      }
    }
    return mixed;
  }

  void rename(const Operation& change) {
    if (change.what == What::make) {
      names_[change.name] = change.inode;
    } else if (change.what == What::remove) {
      names_.erase(change.name);
    } else if (const auto it = names_.find(change.name); it != names_.end()) {
      names_[change.to] = it->second;
      names_.erase(change.name);
    }
  }

  std::map<uint64_t, File> files_;
  std::map<std::string, uint64_t> names_;  // as the synced directory has them
  std::vector<Operation> pending_names_;
};

void RecordedFiles::cut(size_t moment, base::Random& random, const std::string& directory) const {
  const std::lock_guard lock(mutex_);
  Disk disk;
  for (size_t i = 0; i < moment; ++i) disk.apply(operations_[i]);
  disk.write_to(directory, random);
}

}  // namespace support
