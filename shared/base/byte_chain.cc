#include "shared/base/byte_chain.h"

#include <cstdlib>
#include <cstring>

#include "shared/base/check.h"

namespace base {

ChunkPool::~ChunkPool() {
  for (char* chunk : free_) std::free(chunk);
}

char* ChunkPool::take(size_t size, size_t& capacity) {
  capacity = size > kChunkSize ? size : kChunkSize;
  if (capacity == kChunkSize && !free_.empty()) {
    char* chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  auto* chunk = static_cast<char*>(std::malloc(capacity));
  CHECK(chunk != nullptr);
  return chunk;
}

void ChunkPool::give(char* chunk, size_t capacity) {
  if (capacity == kChunkSize && free_.size() < kMaxFree) {
    free_.push_back(chunk);
  } else {
    std::free(chunk);
  }
}

char* ByteChain::append(size_t n) {
  if (segments_.empty() || segments_.back().capacity - segments_.back().end < n || segments_.back().capacity == 0) {
    Segment& fresh = segments_.emplace_back();
    fresh.data = pool_->take(n, fresh.capacity);
  }
  Segment& last = segments_.back();
  char* place = last.data + last.end;
  last.end += n;
  size_ += n;
  return place;
}

void ByteChain::append(std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(append(bytes.size()), bytes.data(), bytes.size());
}

void ByteChain::append_ref(const BufferRef& buffer, std::string_view bytes) {
  if (bytes.empty()) return;
  Segment& segment = segments_.emplace_back();
  segment.data = const_cast<char*>(bytes.data());  // read only through the iovec
  segment.end = bytes.size();
  segment.buffer = buffer;
  size_ += bytes.size();
}

int ByteChain::gather(size_t skip, iovec* iov, int max) const {
  int count = 0;
  for (size_t i = 0; i < segments_.size() && count < max; ++i) {
    const Segment& s = segments_[i];
    const size_t length = s.end - s.begin;
    if (skip >= length) {
      skip -= length;
      continue;
    }
    iov[count++] = {s.data + s.begin + skip, length - skip};
    skip = 0;
  }
  return count;
}

void ByteChain::drop_front(size_t n) {
  CHECK(n <= size_);
  size_ -= n;
  while (n > 0) {
    Segment& s = segments_.front();
    const size_t length = s.end - s.begin;
    if (n < length) {
      s.begin += n;
      return;
    }
    n -= length;
    release(s);
    segments_.pop_front();
  }
}

void ByteChain::clear() {
  while (!segments_.empty()) {
    release(segments_.front());
    segments_.pop_front();
  }
  size_ = 0;
}

void ByteChain::release(Segment& segment) {
  if (segment.capacity != 0) pool_->give(segment.data, segment.capacity);
}

}  // namespace base
