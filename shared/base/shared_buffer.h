// Ref-counted bytes that several messages, connections and (through a memfd) processes share without a copy.
//
// Reference counts are not atomic: a buffer belongs to one thread's objects. Another process gets it by descriptor and
// maps it itself. Writable only while being filled by its only owner; immutable from then on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "proto/framer.h"

namespace base {

class SharedBuffer {
 public:
  // Plain memory.
  static class BufferRef heap(size_t capacity);
  // A sealed-by-convention memfd mapping, which other processes can map too. Falls back to heap() when descriptors or
  // mappings run out.
  static class BufferRef shareable(size_t capacity);
  // Maps `size` bytes of a memfd received from another process, read-only. Takes the descriptor. Null on failure, also
  // if there are fewer bytes behind it.
  static class BufferRef from_fd(int fd, size_t size);

  char* data() { return data_; }
  const char* data() const { return data_; }
  size_t capacity() const { return capacity_; }
  // A descriptor to send to another process with the first `size` bytes behind it, or -1 if there are too many. A heap
  // buffer is copied into a new memfd the first time. The buffer keeps owning the descriptor.
  int share(size_t size);
  // Falls back to plain memory like shareable(). REQUIRES: only one reference.
  void grow(size_t capacity);

 private:
  friend class BufferRef;
  SharedBuffer() = default;
  ~SharedBuffer();
  void release();
  void move_to_heap(size_t capacity);

  char* data_ = nullptr;
  size_t capacity_ = 0;
  size_t shared_size_ = 0;  // bytes behind fd_
  int fd_ = -1;
  bool mapped_ = false;
  uint32_t refs_ = 0;
};

class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(SharedBuffer* buffer) : buffer_(buffer) {
    if (buffer_ != nullptr) ++buffer_->refs_;
  }
  BufferRef(const BufferRef& other) : BufferRef(other.buffer_) {}
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ != nullptr && --buffer_->refs_ == 0) delete buffer_;
  }
  SharedBuffer* operator->() const { return buffer_; }
  SharedBuffer* get() const { return buffer_; }
  explicit operator bool() const { return buffer_ != nullptr; }

 private:
  SharedBuffer* buffer_ = nullptr;
};

// Lets the framer assemble a large packet right in a shareable buffer.
class SharedPacketBuffer final : public proto::PacketBuffer {
 public:
  explicit SharedPacketBuffer(size_t capacity) : buffer_(SharedBuffer::shareable(capacity)) {}
  char* data() override { return buffer_->data(); }
  size_t capacity() const override { return buffer_->capacity(); }
  void grow(size_t capacity) override { buffer_->grow(capacity); }
  BufferRef take() { return std::move(buffer_); }

 private:
  BufferRef buffer_;
};

}  // namespace base
