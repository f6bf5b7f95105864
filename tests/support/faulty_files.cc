#include "tests/support/faulty_files.h"

#include <utility>

namespace support {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(FaultyFiles& files, std::unique_ptr<FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), files_(files) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus status = files_.on_write(); !status.ok()) return status;
    return target()->Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (const IOStatus status = files_.on_sync(); !status.ok()) return status;
    return target()->Sync(options, debug);
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return Sync(options, debug); }

 private:
  FaultyFiles& files_;
};

}  // namespace

IOStatus FaultyFiles::on_write() const {
  switch (fault_) {
    case Fault::no_space:
      return IOStatus::NoSpace("No space left on device");
    case Fault::write_error:
      return IOStatus::IOError("Input/output error");
    case Fault::none:
    case Fault::sync_error:
      break;
  }
  return IOStatus::OK();
}

IOStatus FaultyFiles::on_sync() {
  ++syncs_;
  return fault_ == Fault::sync_error ? IOStatus::IOError("Input/output error") : IOStatus::OK();
}

IOStatus FaultyFiles::NewWritableFile(const std::string& name, const FileOptions& options,
                                      std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  if (const IOStatus status = on_write(); !status.ok()) return status;
  const IOStatus status = target()->NewWritableFile(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<FaultyFile>(*this, std::move(*result));
  return status;
}

IOStatus FaultyFiles::ReopenWritableFile(const std::string& name, const FileOptions& options,
                                         std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  const IOStatus status = target()->ReopenWritableFile(name, options, result, debug);
  if (status.ok()) *result = std::make_unique<FaultyFile>(*this, std::move(*result));
  return status;
}

}  // namespace support
