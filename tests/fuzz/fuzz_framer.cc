// A stream cut at points of the fuzzer's choice gives the frames of the stream in one piece, with and without large
// buffers, and the framer never holds more than has arrived.
//
// Input: maximum packet size (2 bytes), large threshold (1 byte), chunk sizes up to the first 0 byte, the stream.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "proto/framer.h"

using namespace proto;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

class Buffer : public PacketBuffer {
 public:
  char* data() override { return memory_.data(); }
  size_t capacity() const override { return memory_.size(); }
  void grow(size_t capacity) override { memory_.resize(capacity); }

 private:
  std::vector<char> memory_;
};

struct Result {
  std::vector<std::string> frames;
  ReasonCode error = ReasonCode::success;
  bool mid_packet = false;
  bool operator==(const Result&) const = default;
};

Result run(std::string_view stream, std::string_view chunk_sizes, Framer framer) {
  Result result;
  size_t arrived = 0;  // since the last frame
  for (size_t i = 0; !stream.empty(); ++i) {
    const size_t size = chunk_sizes.empty() ? SIZE_MAX : static_cast<uint8_t>(chunk_sizes[i % chunk_sizes.size()]);
    const std::string chunk(stream.substr(0, size));
    stream.remove_prefix(chunk.size());
    std::string_view input = chunk;
    arrived += chunk.size();
    Frame frame;
    Framer::Result got;
    while ((got = framer.next(input, frame)) == Framer::Result::frame) {
      const char head = static_cast<char>(static_cast<unsigned>(frame.type) << 4 | frame.flags);
      result.frames.push_back(head + std::string(frame.body));
      require(framer.buffered() == 0);
      const char* const body = frame.body.data();
      if (const auto buffer = framer.take_buffer()) require(buffer->data() == body);
      arrived = input.size();
    }
    require(framer.buffered() <= arrived);
    if (got == Framer::Result::error) {
      require(!framer.mid_packet());
      result.error = framer.error();
      return result;
    }
    require(input.empty());
  }
  result.mid_packet = framer.mid_packet();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const auto max_packet_size = static_cast<uint32_t>(data[0] << 8 | data[1]);
  const size_t threshold = data[2];
  const std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  const size_t sizes = std::min(rest.find('\0'), rest.size());
  const std::string_view stream = rest.substr(std::min(sizes + 1, rest.size()));

  const Result expected = run(stream, "", Framer(max_packet_size));
  require(run(stream, rest.substr(0, sizes), Framer(max_packet_size)) == expected);
  require(run(stream, "\x01", Framer(max_packet_size)) == expected);
  const Framer::MakeBuffer make = [](size_t) { return std::make_unique<Buffer>(); };
  Framer large(max_packet_size);
  large.set_large_buffers(threshold, &make);
  require(run(stream, rest.substr(0, sizes), std::move(large)) == expected);
  return 0;
}
