// One direction-pair between two worker processes, as a reliable ordered stream of frames. Pure: a carrier (Unix
// socket, simulation) moves the bytes.
//
//   frame = u32 body length, u8 type, u8 flags, u16 attachments (0 or 1), body          (little endian)
//
// Every byte of every frame has a position in the stream, counted from 0 for one pair of incarnations. The sender keeps
// frames until the receiver has acknowledged their position; after a reconnect it resends from the position the
// receiver names, which is always a frame boundary, so nothing is lost, doubled or reordered. Three marks move along:
//
//        acked            written              end
//   ───────┼─────────────────┼───────────────────┼──>
//    gone  │ kept for resend │ waiting           │
//
//   written: the kernel has it, it survives our death.  acked: the peer's broker has processed it.
//
// Acknowledgements are frames too (type ack, body u64 position). They are sent when the peer asked (flag kAckSoon) or
// when enough has been received.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "shared/base/byte_chain.h"
#include "shared/base/ring.h"
#include "shared/base/shared_buffer.h"

namespace bus {

// Bumped whenever a frame's layout changes; peers of another version are refused at the handshake.
inline constexpr uint8_t kBusVersion = 10;

// Frame flags.
inline constexpr uint8_t kAckSoon = 0x01;     // acknowledge at the end of the turn
inline constexpr uint8_t kAskedAgain = 0x04;  // shared_publish: also by our replacement, if we die before the answer
inline constexpr uint8_t kWantStored = 0x02;  // say `stored` when what this brought is; such frames are counted by both

class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  // `attachment` is null unless the frame carries one. False: the frame is malformed; the link is broken for good.
  virtual bool on_frame(uint8_t type, uint8_t flags, std::string_view body, const base::BufferRef& attachment) = 0;
};

class Link {
 public:
  static constexpr size_t kHeaderSize = 8;
  static constexpr uint8_t kAckType = 0;             // the only type the link itself uses
  static constexpr uint64_t kAckEvery = 256 * 1024;  // bytes received until an unasked acknowledgement, at most
  static constexpr uint64_t kLeastAckEvery = 1024;   // an acknowledgement must not be worth another one
  static constexpr uint32_t kMaxBody = 0x7FFFFFFF;

  explicit Link(base::ChunkPool& pool) : out_(pool) {}

  // --- sending ---
  // Appends a frame and returns the place of its body, to be filled at once.
  char* append(uint8_t type, uint8_t flags, size_t body_size);
  // The same with `bytes` of a buffer that the receiver maps instead of copying.
  char* append(uint8_t type, uint8_t flags, size_t body_size, const base::BufferRef& attachment, size_t bytes);
  uint64_t end() const { return acked_ + out_.size(); }
  uint64_t written() const { return written_; }
  uint64_t acked() const { return acked_; }
  bool waiting() const { return written_ < end(); }
  // Bytes the peer has not acknowledged, attachments included: what credit is counted in.
  uint64_t outstanding() const { return out_.size() + attached_; }

  // --- receiving ---
  uint64_t received() const { return received_; }
  // Appends an acknowledgement if one is due. Call once a turn, before flushing.
  void acknowledge_if_due();
  // The peer stops sending at `credit` unacknowledged bytes, so it must hear of us well before.
  void fit_credit(uint64_t credit);

  // --- for the carrier ---
  // A connection is up; the peer has processed our stream up to `peer_received`. False: impossible position.
  bool connected(uint64_t peer_received);
  void disconnected();
  bool is_connected() const { return connected_; }
  // What to write next: fills `iov`, returns the number of entries (0: nothing). `attachment_fd` is -1 or the
  // descriptor that must go with the first byte (SCM_RIGHTS).
  int gather(iovec* iov, int max, int& attachment_fd);
  // The carrier wrote `n` bytes of what gather() returned (and the descriptor, if there was one).
  void on_written(size_t n);
  // Bytes from the peer, in order. `fd` is a descriptor received along (or -1); it is taken. False: malformed stream.
  [[nodiscard]] bool on_bytes(std::string_view bytes, FrameHandler& handler);
  void on_attachment(int fd);

 private:
  struct Attachment {
    uint64_t position = 0;  // of the frame's first byte
    base::BufferRef buffer;
    size_t size = 0;
  };
  struct InboundFds {  // owns descriptors not yet claimed by a frame
    base::Ring<int> fds;
    ~InboundFds();
    void clear();
  };
  bool deliver(std::string_view frame, FrameHandler& handler);
  void drop_to(uint64_t position);

  base::ByteChain out_;  // [acked_, end())
  uint64_t acked_ = 0;
  uint64_t written_ = 0;
  base::Ring<Attachment> attachments_;
  uint64_t attached_ = 0;  // sum of attachments_' sizes
  bool connected_ = false;

  std::string partial_;  // an incomplete frame
  uint64_t received_ = 0;
  uint64_t acknowledged_ = 0;  // what our last acknowledgement said
  uint64_t ack_every_ = kAckEvery;
  bool ack_soon_ = false;
  InboundFds inbound_fds_;
};

}  // namespace bus
