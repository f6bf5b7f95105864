#include "proto/framer.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

// One packet is a walk through the states
//
//   first_byte ──> length ──> body ──> delivered ──> first_byte ...
//                                 └──────────────────> first_byte     (found whole in the input: nothing to release)
//
// `delivered` lasts until the next call, because the caller still reads the assembled body. `failed` is final.

namespace proto {

namespace {

constexpr uint32_t kSmallestBuffer = 64;

}  // namespace

void Framer::Free::operator()(char* memory) const {
  std::free(memory);
}

Framer::Framer(uint32_t max_packet_size) : max_packet_size_(max_packet_size) {}

void Framer::set_max_packet_size(uint32_t bytes) {
  max_packet_size_ = bytes;
}

void Framer::set_large_buffers(size_t threshold, const MakeBuffer* make) {
  make_large_ = make;
  large_threshold_ = static_cast<uint32_t>(std::min<size_t>(threshold, UINT32_MAX));
}

Framer::Result Framer::next(std::string_view& input, Frame& out) {
  if (state_ == State::delivered) begin_packet();
  if (state_ == State::failed) return Result::error;
  while (state_ != State::body) {
    if (input.empty()) return Result::need_more;
    const auto byte = static_cast<uint8_t>(input.front());
    input.remove_prefix(1);
    if (!take_header_byte(byte)) return Result::error;
  }
  if (filled_ == 0 && input.size() >= body_size_) {
    out = frame(input.substr(0, body_size_));
    input.remove_prefix(body_size_);
    state_ = State::first_byte;
    return Result::frame;
  }
  if (input.empty()) return Result::need_more;
  const auto arrived = static_cast<uint32_t>(std::min<size_t>(input.size(), body_size_ - filled_));
  char* const body = reserve(filled_ + arrived);
  std::memcpy(body + filled_, input.data(), arrived);
  input.remove_prefix(arrived);
  filled_ += arrived;
  if (filled_ < body_size_) return Result::need_more;
  out = frame({body, body_size_});
  state_ = State::delivered;
  return Result::frame;
}

bool Framer::take_header_byte(uint8_t byte) {
  if (state_ == State::first_byte) {
    first_ = byte;
    body_size_ = 0;
    length_bytes_ = 0;
    if (first_ >> 4 == 0) return fail(ReasonCode::malformed_packet);  // [MQTT5 2.1.2] type 0 is forbidden
    state_ = State::length;
    return true;
  }
  body_size_ |= (byte & 0x7Fu) << (7 * length_bytes_);
  ++length_bytes_;
  if (byte >= 0x80) return length_bytes_ < 4 || fail(ReasonCode::malformed_packet);
  if (uint64_t{1} + length_bytes_ + body_size_ > max_packet_size_) return fail(ReasonCode::packet_too_large);
  state_ = State::body;
  return true;
}

bool Framer::fail(ReasonCode reason) {
  begin_packet();
  error_ = reason;
  state_ = State::failed;
  return false;
}

char* Framer::reserve(uint32_t needed) {
  if (filled_ == 0 && make_large_ != nullptr && body_size_ >= large_threshold_) {
    large_ = (*make_large_)(body_size_);
    capacity_ = static_cast<uint32_t>(std::min<size_t>(large_->capacity(), body_size_));
  }
  if (capacity_ < needed) {
    const uint32_t capacity = std::min(body_size_, std::max({needed, 2 * capacity_, kSmallestBuffer}));
    if (large_) {
      large_->grow(capacity);
    } else {
      char* const memory = static_cast<char*>(std::realloc(own_.get(), capacity));
      if (memory == nullptr) throw std::bad_alloc();
      static_cast<void>(own_.release());
      own_.reset(memory);
    }
    capacity_ = capacity;
  }
  return large_ ? large_->data() : own_.get();
}

Frame Framer::frame(std::string_view body) const {
  return {static_cast<PacketType>(first_ >> 4), static_cast<uint8_t>(first_ & 0x0F), body};
}

void Framer::begin_packet() {
  large_.reset();
  own_.reset();
  capacity_ = 0;
  filled_ = 0;
  state_ = State::first_byte;
}

std::unique_ptr<PacketBuffer> Framer::take_buffer() {
  return state_ == State::delivered ? std::move(large_) : nullptr;
}

size_t Framer::buffered() const {
  return state_ == State::body ? filled_ : 0;
}

bool Framer::mid_packet() const {
  return state_ == State::length || state_ == State::body;
}

PacketType Framer::pending_type() const {
  assert(mid_packet());
  return static_cast<PacketType>(first_ >> 4);
}

}  // namespace proto
