#include "shared/bus/link.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

using base::BufferRef;
using base::SharedBuffer;
using bus::Link;

namespace {

// One side: a link and what its peer's frames said.
struct End final : bus::FrameHandler {
  bool on_frame(uint8_t type, uint8_t, std::string_view body, const BufferRef& attachment) override {
    if (type == 99) return false;
    std::string text(body);
    if (attachment) text += '@' + std::string(attachment->data(), attachment->capacity());
    frames.push_back(text);
    return true;
  }
  void say(std::string_view body, uint8_t flags = 0, uint8_t type = 1) {
    std::memcpy(link.append(type, flags, body.size()), body.data(), body.size());
  }
  void attach(std::string_view body, std::string_view content) {
    const BufferRef buffer = SharedBuffer::shareable(content.size());
    std::memcpy(buffer->data(), content.data(), content.size());
    std::memcpy(link.append(1, 0, body.size(), buffer, content.size()), body.data(), body.size());
  }
  // What one writev of at most `max` bytes would take now.
  std::string write(size_t max, int& fd) {
    iovec vectors[4];
    const int count = link.gather(vectors, 4, fd);
    std::string bytes;
    for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
    bytes.resize(std::min(bytes.size(), max));
    if (!bytes.empty()) link.on_written(bytes.size());
    return bytes;
  }

  base::ChunkPool pool;
  Link link{pool};
  std::vector<std::string> frames;
};

size_t open_descriptors() {
  size_t n = 0;
  for (int fd = 0; fd < 256; ++fd) n += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return n;
}

// A connection that takes at most `step` bytes at a time.
struct Pair {
  Pair() { connect(); }
  void connect() {
    REQUIRE(a.link.connected(b.link.received()));
    REQUIRE(b.link.connected(a.link.received()));
  }
  void disconnect() {
    a.link.disconnected();
    b.link.disconnected();
  }
  // False: malformed, or nothing was waiting.
  static bool move(End& from, End& to, size_t step) {
    int fd = -1;
    const std::string bytes = from.write(step, fd);
    if (bytes.empty()) return false;
    if (fd >= 0) to.link.on_attachment(dup(fd));
    return to.link.on_bytes(bytes, to);
  }
  void exchange(size_t step = SIZE_MAX) {
    a.link.acknowledge_if_due();
    b.link.acknowledge_if_due();
    for (bool moved = true; moved;) {
      moved = move(a, b, step);
      moved = move(b, a, step) || moved;
    }
  }
  End a, b;
};

using Frames = std::vector<std::string>;

}  // namespace

TEST_CASE("link: the bytes of a frame are pinned") {
  Pair p;
  p.a.say("hi", bus::kAckSoon, 7);
  int fd = -1;
  const std::string expected{'\x02', 0,  0, 0,  // body length
                             '\x07',            // type
                             '\x01',            // flags: ack soon
                             0,      0,         // attachments
                             'h',    'i'};
  CHECK(p.a.write(SIZE_MAX, fd) == expected);
  CHECK(fd == -1);
}

TEST_CASE("link: frames arrive in order, however the stream is cut") {
  for (size_t step = 1; step <= 40; ++step) {
    Pair p;
    p.a.say("one");
    p.a.say("");
    p.a.say("a longer one than the others");
    p.b.say("back");
    p.exchange(step);
    CHECK(p.b.frames == Frames{"one", "", "a longer one than the others"});
    CHECK(p.a.frames == Frames{"back"});
  }
}

TEST_CASE("link: the marks acked, written and end") {
  Pair p;
  p.a.say("12345678");
  CHECK(p.a.link.end() == 16);
  CHECK(p.a.link.written() == 0);
  CHECK(p.a.link.waiting());
  Pair::move(p.a, p.b, 10);
  CHECK(p.a.link.written() == 10);
  CHECK(p.b.link.received() == 0);  // whole frames only
  Pair::move(p.a, p.b, 10);
  CHECK(p.a.link.written() == 16);
  CHECK(!p.a.link.waiting());
  CHECK(p.b.link.received() == 16);
  CHECK(p.a.link.acked() == 0);
}

TEST_CASE("link: an acknowledgement goes back when it was asked for") {
  Pair p;
  p.a.say("quiet");
  p.exchange();
  p.exchange();
  CHECK(p.a.link.acked() == 0);
  p.a.say("loud", bus::kAckSoon);
  p.exchange();
  p.exchange();
  CHECK(p.a.link.acked() == p.a.link.end());
  CHECK(p.b.link.end() == Link::kHeaderSize + 8);  // one acknowledgement for both
}

TEST_CASE("link: an acknowledgement goes back unasked after enough bytes") {
  Pair p;
  p.a.say(std::string(Link::kAckEvery, 'x'));
  p.exchange();
  p.exchange();
  CHECK(p.a.link.acked() == p.a.link.end());
}

TEST_CASE("link: a peer with little credit is acknowledged before it has used it up") {
  Pair p;
  constexpr uint64_t kCredit = 8192;
  p.b.link.fit_credit(kCredit);
  for (int i = 0; i < 100 && p.a.link.outstanding() < kCredit; ++i) {
    p.a.say(std::string(100, 'x'));
    p.exchange();
  }
  CHECK(p.a.link.outstanding() < kCredit);
}

TEST_CASE("link: two idle ends do not acknowledge each other for ever") {
  Pair p;
  p.a.say("x", bus::kAckSoon);
  for (int i = 0; i < 10; ++i) p.exchange();
  CHECK(p.a.link.end() == Link::kHeaderSize + 1);
  CHECK(p.b.link.end() == Link::kHeaderSize + 8);
}

TEST_CASE("link: after a break at any byte everything arrives once and in order") {
  const Frames frames{"first", "", "second", "the third one"};
  size_t total = 0;
  for (const std::string& f : frames) total += Link::kHeaderSize + f.size();
  for (size_t cut = 0; cut <= total; ++cut) {
    Pair p;
    for (const std::string& f : frames) p.a.say(f);
    // All of it left, but the connection broke before the rest was read.
    int fd = -1;
    const std::string bytes = p.a.write(SIZE_MAX, fd);
    REQUIRE(bytes.size() == total);
    REQUIRE(p.b.link.on_bytes(bytes.substr(0, cut), p.b));
    p.disconnect();
    p.a.say("later");
    p.connect();
    p.exchange(5);
    Frames expected = frames;
    expected.push_back("later");
    CHECK(p.b.frames == expected);
  }
}

TEST_CASE("link: breaks again and again, in both directions, with acknowledgements under way") {
  Pair p;
  Frames sent;
  for (int i = 0; i < 200; ++i) {
    sent.push_back(std::to_string(i));
    p.a.say(sent.back(), i % 3 == 0 ? bus::kAckSoon : 0);
    p.b.say(sent.back(), i % 5 == 0 ? bus::kAckSoon : 0);
    p.a.link.acknowledge_if_due();
    p.b.link.acknowledge_if_due();
    for (int j = 0; j < i % 4; ++j) {
      Pair::move(p.a, p.b, static_cast<size_t>(i % 7 + 1));
      Pair::move(p.b, p.a, static_cast<size_t>(i % 11 + 1));
    }
    if (i % 2 == 0) {
      p.disconnect();
      p.connect();
    }
  }
  p.exchange();
  CHECK(p.b.frames == sent);
  CHECK(p.a.frames == sent);
}

TEST_CASE("link: what is said while there is no connection waits") {
  Pair p;
  p.disconnect();
  p.a.say("patience");
  int fd = -1;
  CHECK(p.a.write(SIZE_MAX, fd).empty());
  CHECK(p.a.link.waiting());
  p.connect();
  p.exchange();
  CHECK(p.b.frames == Frames{"patience"});
}

TEST_CASE("link: a position that cannot be is refused at the handshake") {
  Pair p;
  p.a.say("x", bus::kAckSoon);
  p.exchange();
  p.exchange();
  p.disconnect();
  CHECK(!p.a.link.connected(p.a.link.end() + 1));
  CHECK(!p.a.link.connected(p.a.link.acked() - 1));
  CHECK(!p.a.link.is_connected());
  CHECK(p.a.link.connected(p.a.link.end()));
}

TEST_CASE("link: attachments travel as descriptors, however the stream is cut") {
  const size_t descriptors = open_descriptors();
  for (size_t step = 1; step <= 64; ++step) {
    Pair p;
    p.a.say("before");
    p.a.attach("a", "content of a");
    p.a.attach("b", "content of b");
    p.a.say("after");
    p.exchange(step);
    CHECK(p.b.frames == Frames{"before", "a@content of a", "b@content of b", "after"});
  }
  CHECK(open_descriptors() == descriptors);
}

TEST_CASE("link: a descriptor goes with the first byte of its frame, one at a time") {
  Pair p;
  p.a.say("x");
  p.a.attach("a", "1");
  p.a.attach("b", "2");
  int fd = -1;
  CHECK(p.a.write(SIZE_MAX, fd).size() == Link::kHeaderSize + 1);
  CHECK(fd == -1);
  CHECK(p.a.write(3, fd).size() == 3);
  CHECK(fd >= 0);
  p.a.write(SIZE_MAX, fd);  // the rest of this frame
  CHECK(fd == -1);
  p.a.write(SIZE_MAX, fd);
  CHECK(fd >= 0);
}

TEST_CASE("link: attachments are sent again after a break at any byte") {
  const size_t descriptors = open_descriptors();
  for (size_t cut = 0; cut < 60; ++cut) {
    Pair p;
    p.a.attach("a", "content of a");
    p.a.say("between");
    p.a.attach("b", "content of b");
    for (size_t i = 0; i < cut; ++i) Pair::move(p.a, p.b, 1);
    p.disconnect();
    p.connect();
    p.exchange();
    CHECK(p.b.frames == Frames{"a@content of a", "between", "b@content of b"});
  }
  CHECK(open_descriptors() == descriptors);
}

TEST_CASE("link: an acknowledged attachment is given up") {
  const size_t descriptors = open_descriptors();
  Pair p;
  p.a.attach("a", "content");
  p.a.say("x", bus::kAckSoon);
  p.exchange();
  CHECK(open_descriptors() == descriptors + 1);  // the sender keeps it for a resend
  p.exchange();
  CHECK(open_descriptors() == descriptors);
}

TEST_CASE("link: malformed input is refused") {
  struct Row {
    const char* what;
    std::string bytes;
  };
  const std::string z(8, '\0');
  const Row rows[] = {
      {"an acknowledgement that is too short", std::string("\4\0\0\0\0\0\0\0", 8) + "abcd"},
      {"an acknowledgement of what was not written",
       std::string("\10\0\0\0\0\0\0\0", 8) + "\xFF" + std::string(7, '\0')},
      {"an attachment without a descriptor", std::string("\10\0\0\0\1\0\1\0", 8) + z},
      {"two attachments", std::string("\10\0\0\0\1\0\2\0", 8) + z},
      {"an attachment without a size", std::string("\4\0\0\0\1\0\1\0", 8) + "abcd"},
      {"a body that is too long", std::string("\xFF\xFF\xFF\xFF\1\0\0\0", 8) + "x"},
      {"what the handler refuses", std::string("\0\0\0\0\x63\0\0\0", 8)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Pair whole;
    CHECK(!whole.b.link.on_bytes(row.bytes, whole.b));
    Pair split;
    bool ok = true;
    for (size_t i = 0; ok && i < row.bytes.size(); ++i) ok = split.b.link.on_bytes(row.bytes.substr(i, 1), split.b);
    CHECK(!ok);
  }
}

TEST_CASE("link: an attachment whose descriptor is no file of that size is refused") {
  const size_t descriptors = open_descriptors();
  Pair p;
  p.b.link.on_attachment(open("/dev/null", O_RDONLY));
  const std::string frame = std::string("\10\0\0\0\1\0\1\0", 8) + std::string("\0\0\0\0\1\0\0\0", 8);
  CHECK(!p.b.link.on_bytes(frame, p.b));
  CHECK(open_descriptors() == descriptors);
}

TEST_CASE("link: descriptors that no frame claimed are closed with the connection") {
  const size_t descriptors = open_descriptors();
  Pair p;
  p.b.link.on_attachment(open("/dev/null", O_RDONLY));
  p.disconnect();
  CHECK(open_descriptors() == descriptors);
}
