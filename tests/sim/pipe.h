// One direction of a socket: what is in it, the kernel has. Bounded, ordered; may carry descriptors (SCM_RIGHTS).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "shared/base/unique_fd.h"

namespace sim {

class Pipe {
 public:
  explicit Pipe(size_t capacity = 0) : capacity_(capacity) {}

  size_t size() const { return bytes_.size() - taken_; }
  bool empty() const { return size() == 0; }
  size_t room() const { return size() < capacity_ ? capacity_ - size() : 0; }

  void put(std::string_view bytes) { bytes_.append(bytes); }
  // A duplicate of `fd` travels with the next byte that is put.
  void put_descriptor(int fd);

  // Up to `max` bytes from the front. A descriptor comes with its byte, which is then the first of what is returned.
  std::string take(size_t max, base::UniqueFd& descriptor);
  std::string take(size_t max);
  // Loses all but the first `keep` bytes.
  void truncate(size_t keep);
  void clear() { truncate(0); }

 private:
  struct Descriptor {
    uint64_t position = 0;
    base::UniqueFd fd;
  };
  size_t capacity_;
  std::string bytes_;
  size_t taken_ = 0;    // of bytes_
  uint64_t begin_ = 0;  // position of the first byte that is left
  std::deque<Descriptor> descriptors_;
};

}  // namespace sim
