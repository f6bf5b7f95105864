#include "shared/base/shared_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "shared/base/check.h"

namespace base {
namespace {
// Descriptors that buffers may hold at a time; past it large packets live in plain memory and are copied when shared.
constexpr int kMaxOpenFds = 2048;
int open_fds = 0;

int new_memfd(size_t size) {
  const int fd = memfd_create("mqtt-master-payload", MFD_CLOEXEC);
  if (fd < 0) return -1;
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

char* map_fd(int fd, size_t size, int protection) {
  void* memory = mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}
}  // namespace

BufferRef SharedBuffer::heap(size_t capacity) {
  auto* buffer = new SharedBuffer();
  buffer->data_ = static_cast<char*>(std::malloc(capacity));
  CHECK(buffer->data_ != nullptr);
  buffer->capacity_ = capacity;
  return BufferRef(buffer);
}

BufferRef SharedBuffer::shareable(size_t capacity) {
  if (open_fds >= kMaxOpenFds) return heap(capacity);
  const int fd = new_memfd(capacity);
  if (fd < 0) return heap(capacity);
  char* data = map_fd(fd, capacity, PROT_READ | PROT_WRITE);
  if (data == nullptr) {
    close(fd);
    return heap(capacity);
  }
  auto* buffer = new SharedBuffer();
  buffer->data_ = data;
  buffer->capacity_ = capacity;
  buffer->fd_ = fd;
  buffer->mapped_ = true;
  ++open_fds;
  return BufferRef(buffer);
}

BufferRef SharedBuffer::from_fd(int fd, size_t size) {
  char* data = map_fd(fd, size, PROT_READ);
  if (data == nullptr) {
    close(fd);
    return BufferRef();
  }
  auto* buffer = new SharedBuffer();
  buffer->data_ = data;
  buffer->capacity_ = size;
  buffer->mapped_ = true;
  if (open_fds < kMaxOpenFds) {
    buffer->fd_ = fd;
    ++open_fds;
  } else {
    close(fd);
  }
  return BufferRef(buffer);
}

SharedBuffer::~SharedBuffer() {
  if (mapped_) {
    munmap(data_, capacity_);
  } else {
    std::free(data_);
  }
  if (fd_ >= 0) {
    close(fd_);
    --open_fds;
  }
}

int SharedBuffer::share(size_t size) {
  if (fd_ >= 0) return fd_;
  const int fd = new_memfd(size);
  if (fd < 0) return -1;
  char* copy = map_fd(fd, size, PROT_READ | PROT_WRITE);
  if (copy == nullptr) {
    close(fd);
    return -1;
  }
  std::memcpy(copy, data_, size);
  munmap(copy, size);
  fd_ = fd;
  ++open_fds;
  return fd_;
}

void SharedBuffer::grow(size_t capacity) {
  CHECK(refs_ == 1);
  if (capacity <= capacity_) return;
  if (!mapped_) {
    data_ = static_cast<char*>(std::realloc(data_, capacity));
    CHECK(data_ != nullptr);
  } else {
    CHECK(ftruncate(fd_, static_cast<off_t>(capacity)) == 0);
    void* memory = mremap(data_, capacity_, capacity, MREMAP_MAYMOVE);
    CHECK(memory != MAP_FAILED);
    data_ = static_cast<char*>(memory);
  }
  capacity_ = capacity;
}

}  // namespace base
