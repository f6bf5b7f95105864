// The stream between workers, as it comes from the socket: whatever the bytes are, a frame is taken or refused, and a
// message that is taken from a `publish` frame comes out of a frame of its own unchanged.
//
// Input: how many bytes come at a time (1 byte, 0: all), the stream.
#include <sys/uio.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "shared/bus/message_codec.h"
#include "shared/bus/publish_frame.h"

namespace {

constexpr uint64_t kSender = 7;

void require(bool condition) {
  if (!condition) std::abort();
}

bool equal(const bus::Message::Fields& a, const bus::Message::Fields& b) {
  return a.uid == b.uid && a.identity() == b.identity() && a.expires_at == b.expires_at && a.qos == b.qos &&
         a.retain == b.retain && a.topic == b.topic && a.publisher == b.publisher && a.properties == b.properties &&
         a.payload == b.payload;
}

struct Expecting final : bus::FrameHandler {
  explicit Expecting(const bus::Message::Fields& m) : message(m) {}
  bool on_frame(uint8_t type, uint8_t, std::string_view body, const base::BufferRef& attachment) override {
    bus::Message::Fields again;
    require(type == static_cast<uint8_t>(bus::FrameType::publish));
    require(bus::read_publish(body, attachment, kSender, again) && equal(message, again));
    came = true;
    return true;
  }
  const bus::Message::Fields& message;
  bool came = false;
};

void check_again(const bus::Message::Fields& message) {
  base::ChunkPool pool;
  bus::Link from(pool);
  bus::Link to(pool);
  require(from.connected(0) && to.connected(0));
  bus::append_publish_frame(from, 0, message, kSender);
  Expecting expecting(message);
  while (from.waiting()) {
    iovec pieces[16];
    int descriptor = -1;
    const int count = from.gather(pieces, 16, descriptor);
    require(count > 0 && descriptor == -1);
    size_t written = 0;
    for (int i = 0; i < count; ++i) {
      require(to.on_bytes({static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len}, expecting));
      written += pieces[i].iov_len;
    }
    from.on_written(written);
  }
  require(expecting.came);
}

struct Reading final : bus::FrameHandler {
  bool on_frame(uint8_t type, uint8_t, std::string_view body, const base::BufferRef& attachment) override {
    if (type == static_cast<uint8_t>(bus::FrameType::publish)) {
      bus::Message::Fields message;
      if (!bus::read_publish(body, attachment, kSender, message)) return false;
      check_again(message);
      return true;
    }
    bus::Reader reader(body);
    return static_cast<bool>(bus::read_message(reader, attachment));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = data[0] == 0 ? stream.size() : data[0];
  base::ChunkPool pool;
  bus::Link link(pool);
  require(link.connected(0));
  Reading handler;
  for (size_t at = 0; at < stream.size(); at += step) {
    const std::string piece(stream.substr(at, step));  // a copy, so that a byte read past the end shows
    if (!link.on_bytes(piece, handler)) break;
  }
  return 0;
}
