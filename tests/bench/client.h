// One non-blocking connection: whole packets in, gathered bytes out. Used by the load and by the forwarder.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/bench/socket.h"
#include "tests/bench/wire.h"

namespace bench {

// Memory that all connections of a loop read into, one after the other.
class ReadBuffer {
 public:
  static constexpr size_t kSize = 256 * 1024;
  char* data() { return data_.get(); }

 private:
  std::unique_ptr<char[]> data_ = std::make_unique<char[]>(kSize);
};

class Client {
 public:
  // Takes a connected socket and makes it non-blocking.
  explicit Client(Fd socket) : socket_(std::move(socket)) { set_non_blocking(socket_); }

  int fd() const { return socket_.get(); }

  // What is appended here goes out with the next flush().
  std::string& out() { return out_; }
  bool blocked() const { return blocked_; }
  // Writes as much as the socket takes. Returns false when something is left: blocked() until a flush() leaves nothing.
  bool flush();

  // Reads once and calls on_frame(Frame) for each whole packet. Returns false at the end of the stream.
  template <typename OnFrame>
  bool receive(ReadBuffer& buffer, OnFrame&& on_frame) {
    std::string_view bytes;
    if (!read_into(buffer, bytes)) return false;
    Frame frame;
    while (const size_t size = next_frame(bytes, frame)) {
      on_frame(frame);
      bytes.remove_prefix(size);
    }
    unfinished_.assign(bytes);
    return true;
  }

 private:
  // Puts the unfinished packet and what the socket has into the buffer.
  bool read_into(ReadBuffer& buffer, std::string_view& bytes);

  Fd socket_;
  std::string out_;
  size_t sent_ = 0;  // of out_
  bool blocked_ = false;
  std::string unfinished_;
};

}  // namespace bench
