#include "shared/base/shared_buffer.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "shared/base/check.h"

namespace base {
namespace {
// Descriptors that buffers may hold at a time; past it large packets live in plain memory and are copied when shared.
constexpr int kMaxOpenFds = 2048;
int open_fds = 0;

int new_memfd() {
  if (open_fds >= kMaxOpenFds) return -1;
  const int fd = memfd_create("mqtt-master-payload", MFD_CLOEXEC);
  if (fd >= 0) ++open_fds;
  return fd;
}

void close_memfd(int fd) {
  close(fd);
  --open_fds;
}

bool resize_file(int fd, size_t size) {
  return ftruncate(fd, static_cast<off_t>(size)) == 0;
}

bool write_file(int fd, const char* data, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = pwrite(fd, data + done, size - done, static_cast<off_t>(done));
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

size_t file_size(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
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
  const int fd = new_memfd();
  if (fd < 0) return heap(capacity);
  char* data = resize_file(fd, capacity) ? map_fd(fd, capacity, PROT_READ | PROT_WRITE) : nullptr;
  if (data == nullptr) {
    close_memfd(fd);
    return heap(capacity);
  }
  auto* buffer = new SharedBuffer();
  buffer->data_ = data;
  buffer->capacity_ = capacity;
  buffer->shared_size_ = capacity;
  buffer->fd_ = fd;
  buffer->mapped_ = true;
  return BufferRef(buffer);
}

BufferRef SharedBuffer::from_fd(int fd, size_t size) {
  if (fd < 0) return BufferRef();
  // Beyond the file's end a mapping has no memory: touching it is SIGBUS.
  char* data = file_size(fd) >= size ? map_fd(fd, size, PROT_READ) : nullptr;
  if (data == nullptr) {
    close(fd);
    return BufferRef();
  }
  auto* buffer = new SharedBuffer();
  buffer->data_ = data;
  buffer->capacity_ = size;
  buffer->mapped_ = true;
  if (open_fds < kMaxOpenFds) {
    buffer->shared_size_ = size;
    buffer->fd_ = fd;
    ++open_fds;
  } else {
    close(fd);
  }
  return BufferRef(buffer);
}

SharedBuffer::~SharedBuffer() {
  release();
}

void SharedBuffer::release() {
  if (mapped_) {
    munmap(data_, capacity_);
  } else {
    std::free(data_);
  }
  if (fd_ >= 0) close_memfd(fd_);
}

int SharedBuffer::share(size_t size) {
  CHECK(size <= capacity_);
  if (fd_ >= 0 && size <= shared_size_) return fd_;
  if (fd_ < 0) fd_ = new_memfd();
  if (fd_ < 0 || !write_file(fd_, data_, size)) return -1;
  shared_size_ = size;
  return fd_;
}

void SharedBuffer::grow(size_t capacity) {
  CHECK(refs_ == 1);
  if (capacity <= capacity_) return;
  if (!mapped_) {
    data_ = static_cast<char*>(std::realloc(data_, capacity));
    CHECK(data_ != nullptr);
    capacity_ = capacity;
    return;
  }
  void* memory = MAP_FAILED;
  if (fd_ >= 0 && resize_file(fd_, capacity)) memory = mremap(data_, capacity_, capacity, MREMAP_MAYMOVE);
  if (memory == MAP_FAILED) return move_to_heap(capacity);
  data_ = static_cast<char*>(memory);
  capacity_ = capacity;
  shared_size_ = capacity;
}

void SharedBuffer::move_to_heap(size_t capacity) {
  auto* data = static_cast<char*>(std::malloc(capacity));
  CHECK(data != nullptr);
  std::memcpy(data, data_, capacity_);
  release();
  data_ = data;
  capacity_ = capacity;
  shared_size_ = 0;
  fd_ = -1;
  mapped_ = false;
}

}  // namespace base
