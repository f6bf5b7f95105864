// Cuts a byte stream into MQTT control packets.
//
// Whole packets inside the caller's read buffer are returned in place, without a copy. Only a packet that arrives
// in pieces is assembled in memory, which grows with the bytes that have really arrived (geometrically, never past
// the packet's size). A packet over the limit is refused as soon as its fixed header is known.
//
//   std::string_view input = what recv() returned;
//   for (;;) switch (framer.next(input, frame)) { case frame: use(frame); ... case need_more: return; case error: ... }
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/reason_code.h"
#include "proto/types.h"

namespace proto {

// Memory in which a large packet is assembled and that its receiver may keep (see Framer::take_buffer).
class PacketBuffer {
 public:
  virtual ~PacketBuffer() = default;
  virtual char* data() = 0;
  virtual size_t capacity() const = 0;
  // Makes capacity() at least `capacity`, keeping what is there; data() may move.
  virtual void grow(size_t capacity) = 0;
};

struct Frame {
  PacketType type = PacketType::pingreq;
  uint8_t flags = 0;      // low four bits of the first byte
  std::string_view body;  // everything behind the fixed header
};

class Framer {
 public:
  enum class Result : uint8_t { frame, need_more, error };
  using MakeBuffer = std::function<std::unique_ptr<PacketBuffer>(size_t packet_size)>;

  // `max_packet_size` counts the fixed header, as MQTT's Maximum Packet Size does.
  explicit Framer(uint32_t max_packet_size);

  void set_max_packet_size(uint32_t bytes);
  // Packets with a body of at least `threshold` bytes are assembled in a buffer from `make` rather than in the
  // framer's own. `make` gets the size the body will have; it need not allocate as much, the framer calls grow() as the
  // bytes arrive. It is not owned and must outlive the framer. nullptr: never.
  void set_large_buffers(size_t threshold, const MakeBuffer* make);

  // Consumes from the front of `input`. `frame`: one packet is in `out`, valid until the next call or until the
  // input buffer changes. `need_more`: all input was consumed. `error`: see error(); every later call says so again.
  Result next(std::string_view& input, Frame& out);

  // If the frame just returned was assembled in a buffer from MakeBuffer: hands that buffer over (out.body points into
  // it). Otherwise nullptr.
  std::unique_ptr<PacketBuffer> take_buffer();

  // Why next() failed: malformed_packet (remaining length of five bytes, packet type 0) or packet_too_large.
  ReasonCode error() const { return error_; }
  // Bytes held for a packet that is not complete yet (0 between packets): what limits on partly received packets count.
  size_t buffered() const;
  // True in the middle of a packet.
  bool mid_packet() const;
  // Type of the packet being assembled. REQUIRES: mid_packet() and its first byte has arrived.
  PacketType pending_type() const;

 private:
  enum class State : uint8_t { first_byte, length, body, delivered, failed };
  struct Free {
    void operator()(char* memory) const;
  };

  bool take_header_byte(uint8_t byte);
  bool fail(ReasonCode reason);
  // Memory for at least `needed` body bytes, keeping the first filled_.
  char* reserve(uint32_t needed);
  Frame frame(std::string_view body) const;
  void begin_packet();

  uint32_t max_packet_size_;
  uint32_t large_threshold_ = UINT32_MAX;
  const MakeBuffer* make_large_ = nullptr;
  std::unique_ptr<PacketBuffer> large_;  // the body, if it is assembled there
  std::unique_ptr<char, Free> own_;      // otherwise
  uint32_t capacity_ = 0;                // of either
  uint32_t filled_ = 0;                  // bytes of the body in it
  uint32_t body_size_ = 0;               // the remaining length, while in State::length what is known of it
  uint8_t length_bytes_ = 0;
  uint8_t first_ = 0;
  State state_ = State::first_byte;
  ReasonCode error_ = ReasonCode::success;
};

}  // namespace proto
