// The text of one topic level in 12 bytes: up to 10 bytes lie inside, longer ones on the heap.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "shared/base/check.h"

namespace router {

class LevelText {
 public:
  static constexpr size_t kInside = 10;

  LevelText() = default;
  ~LevelText() { clear(); }
  LevelText(const LevelText&) = delete;
  LevelText& operator=(const LevelText&) = delete;

  void set(std::string_view text) {
    CHECK(text.size() <= UINT16_MAX);
    clear();
    char* place = bytes_;
    if (text.size() > kInside) {
      place = new char[text.size()];
      std::memcpy(bytes_, &place, sizeof place);
    }
    if (!text.empty()) std::memcpy(place, text.data(), text.size());
    size_ = static_cast<uint16_t>(text.size());
  }
  void clear() {
    if (size_ > kInside) delete[] outside();
    size_ = 0;
  }
  std::string_view view() const { return {size_ > kInside ? outside() : bytes_, size_}; }
  // Bytes on the heap, as the allocator rounds them.
  size_t heap_bytes() const { return size_ > kInside ? ((size_ + 8u + 15u) & ~size_t{15}) : 0; }

 private:
  char* outside() const {
    char* place;
    std::memcpy(&place, bytes_, sizeof place);
    return place;
  }

  char bytes_[kInside];  // or, in its first 8 bytes, the address
  uint16_t size_ = 0;
};
static_assert(sizeof(LevelText) == 12);

}  // namespace router
