#include "shared/base/shared_buffer.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace base {
namespace {

size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

void fill(const BufferRef& buffer, std::string_view text) {
  std::memcpy(buffer->data(), text.data(), text.size());
}

// What another process would see behind the descriptor.
std::string seen_through(int fd, size_t size) {
  const BufferRef other = SharedBuffer::from_fd(dup(fd), size);
  return other ? std::string(std::as_const(*other.get()).data(), size) : "";
}

// No file, memfds included, may grow past `bytes` meanwhile.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallFiles() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;

 private:
  rlimit old_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("shared_buffer: references count; the last one frees memory and descriptor") {
  const size_t before = open_descriptors();
  {
    BufferRef a = SharedBuffer::shareable(100);
    BufferRef b = a;
    const BufferRef c = std::move(a);
    CHECK_FALSE(a);  // NOLINT: says what a moved-from reference is
    b = BufferRef();
    BufferRef d = c;
    d = c;
    fill(c, "abc");
    CHECK(d.get() == c.get());
    CHECK(open_descriptors() == before + 1);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("shared_buffer: a shareable buffer is shared without a copy") {
  const BufferRef buffer = SharedBuffer::shareable(5000);
  fill(buffer, "hello");
  const int fd = buffer->share(5);
  REQUIRE(fd >= 0);
  CHECK(seen_through(fd, 5) == "hello");
  CHECK(buffer->share(5) == fd);
}

TEST_CASE("shared_buffer: a heap buffer is copied into a descriptor once") {
  const size_t before = open_descriptors();
  {
    const BufferRef buffer = SharedBuffer::heap(100);
    fill(buffer, "hello");
    const int fd = buffer->share(5);
    REQUIRE(fd >= 0);
    CHECK(seen_through(fd, 5) == "hello");
    CHECK(buffer->share(5) == fd);
    CHECK(buffer->share(3) == fd);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("shared_buffer: sharing more than the first time shares more") {
  const BufferRef buffer = SharedBuffer::heap(100);
  fill(buffer, "hello world");
  buffer->share(5);
  CHECK(seen_through(buffer->share(11), 11) == "hello world");
}

TEST_CASE("shared_buffer: a buffer from a descriptor can be passed on") {
  const BufferRef buffer = SharedBuffer::shareable(10);
  fill(buffer, "0123456789");
  const BufferRef received = SharedBuffer::from_fd(dup(buffer->share(10)), 10);
  REQUIRE(received);
  CHECK(received->capacity() == 10);
  CHECK(seen_through(received->share(10), 10) == "0123456789");
}

TEST_CASE("shared_buffer: a descriptor with less behind it than promised is refused and closed") {
  const size_t before = open_descriptors();
  const int fd = memfd_create("test", MFD_CLOEXEC);
  REQUIRE(ftruncate(fd, 10) == 0);
  CHECK_FALSE(SharedBuffer::from_fd(dup(fd), 100'000));
  CHECK_FALSE(SharedBuffer::from_fd(dup(fd), 11));
  CHECK_FALSE(SharedBuffer::from_fd(dup(fd), 0));
  CHECK_FALSE(SharedBuffer::from_fd(-1, 10));
  close(fd);
  CHECK(open_descriptors() == before);
}

TEST_CASE("shared_buffer: growing keeps the bytes") {
  for (const bool shareable : {false, true}) {
    const BufferRef buffer = shareable ? SharedBuffer::shareable(10) : SharedBuffer::heap(10);
    fill(buffer, "0123456789");
    buffer->grow(5);
    CHECK(buffer->capacity() == 10);
    buffer->grow(1'000'000);
    CHECK(buffer->capacity() == 1'000'000);
    CHECK(std::string_view(buffer->data(), 10) == "0123456789");
    buffer->data()[999'999] = 'x';
    CHECK(seen_through(buffer->share(1'000'000), 1'000'000).back() == 'x');
  }
}

TEST_CASE("shared_buffer: past the limit of descriptors buffers are plain, and sharing them is refused") {
  const size_t before = open_descriptors();
  {
    std::vector<BufferRef> buffers;
    for (int i = 0; i < 2100; ++i) buffers.push_back(SharedBuffer::shareable(16));
    CHECK(open_descriptors() <= before + 2048);
    CHECK(buffers.back()->share(16) == -1);
    CHECK(open_descriptors() <= before + 2048);
  }
  CHECK(open_descriptors() == before);
  CHECK(SharedBuffer::heap(1)->share(1) >= 0);
}

TEST_CASE("shared_buffer: what cannot grow as a file goes on in plain memory") {
  const size_t before = open_descriptors();
  const BufferRef buffer = SharedBuffer::shareable(10);
  fill(buffer, "0123456789");
  {
    const SmallFiles limit(4096);
    buffer->grow(100'000);
    CHECK(SharedBuffer::shareable(100'000)->capacity() == 100'000);
    buffer->data()[99'999] = 'x';
    CHECK(buffer->share(100'000) == -1);
  }
  CHECK(std::string_view(buffer->data(), 10) == "0123456789");
  CHECK(seen_through(buffer->share(100'000), 100'000).back() == 'x');
  CHECK(open_descriptors() == before + 1);
}

TEST_CASE("shared_buffer: an empty buffer") {
  CHECK(SharedBuffer::heap(0));
  CHECK(SharedBuffer::shareable(0));
}

TEST_CASE("shared_packet_buffer: grows as the framer asks and hands its buffer over") {
  SharedPacketBuffer packet(4);
  std::memcpy(packet.data(), "abcd", 4);
  packet.grow(8);
  CHECK(packet.capacity() >= 8);
  const BufferRef taken = packet.take();
  CHECK(std::string_view(taken->data(), 4) == "abcd");
}

}  // namespace base
