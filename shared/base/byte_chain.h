// A FIFO of bytes waiting to be written: small pieces are copied into pooled chunks, large ones are referenced.
// What a connection's output and a link's resend window are made of. Empty: no memory but itself.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/ring.h"
#include "shared/base/shared_buffer.h"

namespace base {

// Recycles fixed-size chunks; one per worker. Not thread-safe. Must outlive every chain that uses it.
class ChunkPool {
 public:
  static constexpr size_t kChunkSize = 8192;
  ChunkPool() = default;
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  // At least `size` bytes; `capacity` says how many.
  char* take(size_t size, size_t& capacity);
  void give(char* chunk, size_t capacity);

 private:
  static constexpr size_t kMaxFree = 1024;
  std::vector<char*> free_;
};

class ByteChain {
 public:
  explicit ByteChain(ChunkPool& pool) : pool_(&pool) {}
  ~ByteChain() { clear(); }
  ByteChain(ByteChain&& other) noexcept
      : pool_(other.pool_), segments_(std::move(other.segments_)), size_(std::exchange(other.size_, 0)) {}
  ByteChain(const ByteChain&) = delete;
  ByteChain& operator=(const ByteChain&) = delete;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // `n` contiguous bytes at the end, to be filled by the caller at once.
  char* append(size_t n);
  void append(std::string_view bytes);
  // References `bytes`, which must lie in `buffer`.
  void append_ref(const BufferRef& buffer, std::string_view bytes);

  // Fills up to `max` entries with what follows the first `skip` bytes; returns how many.
  int gather(size_t skip, iovec* iov, int max) const;
  // Forgets the first `n` bytes.
  void drop_front(size_t n);
  void clear();

 private:
  struct Segment {
    char* data = nullptr;
    size_t begin = 0;
    size_t end = 0;
    size_t capacity = 0;  // 0: a reference
    BufferRef buffer;
  };
  void release(Segment& segment);

  ChunkPool* pool_;
  Ring<Segment> segments_;
  size_t size_ = 0;
};

}  // namespace base
