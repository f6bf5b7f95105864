// The store that forgets: batches go into a map and are lost with the process. For the time before there is an embedded
// store, and for tests, which can make it slow or broken.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "shared/store/store.h"

namespace store {

class MemoryStore final : public Store {
 public:
  struct Options {
    bool durable = false;  // what durable() says: tests let another worker open what this one has written
    bool hold = false;     // completions wait for release()
  };
  MemoryStore() = default;
  explicit MemoryStore(const Options& options) : options_(options) {}

  void commit(Batch batch, Completion done) override;
  void run_completions() override;
  bool durable() const override { return options_.durable; }

  // Something is due: run_completions() would call it.
  bool pending() const { return !due_.empty() && !options_.hold; }
  const std::map<std::string, std::string>& content() const { return content_; }

  // --- faults ---
  // The next commit changes nothing and completes with `status`.
  void fail_next_commit(Status status = Status::failed) { next_ = status; }
  void hold() { options_.hold = true; }
  void release() { options_.hold = false; }

 private:
  struct Due {
    Completion done;
    Status status;
  };
  Options options_;
  std::map<std::string, std::string> content_;
  std::vector<Due> due_;
  Status next_ = Status::ok;
};

}  // namespace store
