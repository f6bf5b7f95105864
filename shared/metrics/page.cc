#include "shared/metrics/page.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

#include "shared/base/check.h"
#include "shared/base/unique_fd.h"

namespace metrics {
namespace {

static_assert(std::atomic<uint64_t>::is_always_lock_free);
static_assert(static_cast<uint32_t>(Gauge::kCount) <= 64);
static_assert(static_cast<uint32_t>(Counter::kCount) <= 128);

constexpr std::string_view kCounterNames[] = {
#define X(name, help) #name,
    MM_COUNTERS(X)
#undef X
};
constexpr std::string_view kCounterHelp[] = {
#define X(name, help) help,
    MM_COUNTERS(X)
#undef X
};
constexpr std::string_view kGaugeNames[] = {
#define X(name, help) #name,
    MM_GAUGES(X)
#undef X
};
constexpr std::string_view kGaugeHelp[] = {
#define X(name, help) help,
    MM_GAUGES(X)
#undef X
};

void* map(int fd, size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "cannot map the metrics pages");
  return memory;
}

Page* page_at(void* memory, uint32_t index) {
  return reinterpret_cast<Page*>(static_cast<char*>(memory) + size_t{index} * kPageSize);
}

}  // namespace

int Pages::create_memfd(uint32_t slots) {
  base::UniqueFd fd(memfd_create("mqtt-master-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw std::system_error(errno, std::generic_category(), "memfd_create");
  const size_t size = slots * kPageSize;
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot size the metrics pages");
  }
  void* memory = map(fd.get(), size);
  for (uint32_t i = 0; i < slots; ++i) new (page_at(memory, i)) Page{};
  munmap(memory, size);
  return fd.release();
}

Pages::Pages(int fd, uint32_t slots) : slots_(slots) {
  struct stat file {};
  if (fstat(fd, &file) != 0 || file.st_size != static_cast<off_t>(slots * kPageSize)) {
    throw std::runtime_error("the metrics pages have another size");
  }
  memory_ = map(fd, slots * kPageSize);
  for (uint32_t i = 0; i < slots; ++i) {
    const Page* page = page_at(memory_, i);
    if (page->magic == kPageMagic && page->version == kPageVersion) continue;
    munmap(memory_, slots * kPageSize);
    throw std::runtime_error("the metrics pages are of another version");
  }
}

Pages::~Pages() {
  munmap(memory_, slots_ * kPageSize);
}

PageRef Pages::slot(uint32_t index) const {
  CHECK(index < slots_);
  return PageRef(page_at(memory_, index));
}

std::string_view name(Counter c) {
  return kCounterNames[static_cast<uint32_t>(c)];
}
std::string_view name(Gauge g) {
  return kGaugeNames[static_cast<uint32_t>(g)];
}
std::string_view help(Counter c) {
  return kCounterHelp[static_cast<uint32_t>(c)];
}
std::string_view help(Gauge g) {
  return kGaugeHelp[static_cast<uint32_t>(g)];
}

}  // namespace metrics
