// A FIFO that costs nothing while empty: 24 bytes, no allocation until the first push (std::deque takes 576 bytes).
// Grows by doubling; gives its memory back when it drains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

namespace base {

template <typename T>
class Ring {
 public:
  Ring() = default;
  ~Ring() { clear(); }
  Ring(Ring&& other) noexcept
      : slots_(std::exchange(other.slots_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        head_(std::exchange(other.head_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  Ring& operator=(Ring&& other) noexcept {
    if (this != &other) {
      clear();
      slots_ = std::exchange(other.slots_, nullptr);
      capacity_ = std::exchange(other.capacity_, 0);
      head_ = std::exchange(other.head_, 0);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return slots_[index(i)]; }
  const T& operator[](size_t i) const { return slots_[index(i)]; }
  T& front() { return slots_[head_]; }
  const T& front() const { return slots_[head_]; }
  T& back() { return (*this)[size_ - 1]; }

  template <typename... Args>
  T& emplace_back(Args&&... args) {
    T* place = nullptr;
    if (size_ == capacity_) {
      place = grow_and_emplace(std::forward<Args>(args)...);
    } else {
      place = new (slots_ + index(size_)) T(std::forward<Args>(args)...);
    }
    ++size_;
    return *place;
  }
  void push_back(T value) { emplace_back(std::move(value)); }

  // REQUIRES: !empty().
  void pop_front() {
    slots_[head_].~T();
    head_ = (head_ + 1) & (capacity_ - 1);
    if (--size_ == 0) release();
  }
  // Keeps the order of the rest. O(size).
  void erase(size_t i) {
    for (; i + 1 < size_; ++i) (*this)[i] = std::move((*this)[i + 1]);
    (*this)[size_ - 1].~T();
    if (--size_ == 0) release();
  }
  void clear() {
    while (size_ > 0) {
      slots_[head_].~T();
      head_ = (head_ + 1) & (capacity_ - 1);
      --size_;
    }
    free_slots();
  }

 private:
  // A drained ring of this many slots or fewer keeps them: refilling is the common case.
  static constexpr uint32_t kKeep = 16;

  size_t index(size_t i) const { return (head_ + i) & (capacity_ - 1); }
  template <typename... Args>
  T* grow_and_emplace(Args&&... args) {
    const uint32_t capacity = capacity_ == 0 ? 4 : capacity_ * 2;
    T* slots = static_cast<T*>(::operator new (capacity * sizeof(T), std::align_val_t{alignof(T)}));
    // Made before the others move: it may be made from one of them.
    T* place = new (slots + size_) T(std::forward<Args>(args)...);
    for (size_t i = 0; i < size_; ++i) {
      T& from = (*this)[i];
      new (slots + i) T(std::move(from));
      from.~T();
    }
    free_slots_only();
    slots_ = slots;
    capacity_ = capacity;
    head_ = 0;
    return place;
  }
  void release() {
    head_ = 0;
    if (capacity_ > kKeep) free_slots();
  }
  void free_slots() {
    free_slots_only();
    slots_ = nullptr;
    capacity_ = 0;
    head_ = 0;
  }
  void free_slots_only() {
    if (slots_ != nullptr) ::operator delete (slots_, std::align_val_t{alignof(T)});
  }

  T* slots_ = nullptr;
  uint32_t capacity_ = 0;  // power of two
  uint32_t head_ = 0;
  uint32_t size_ = 0;
};

}  // namespace base
