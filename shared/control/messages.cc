#include "shared/control/messages.h"

#include <algorithm>
#include <concepts>

namespace control {
namespace {

// The second byte. Never reuse a number.
enum class Kind : uint8_t {
  ready = 1,
  stopping = 2,
  peers = 3,
  stop = 4,
  adopt = 5,
  unadopt = 6,
  reopen_log = 7,
  nodes = 8,
  bury = 9,
  buried = 10,
};

// Whole numbers are little-endian.
void put(std::string& out, std::unsigned_integral auto value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
}

constexpr size_t kMaxText = 150;  // node keys are shorter

void put_text(std::string& out, std::string_view text) {
  text = text.substr(0, kMaxText);
  put(out, static_cast<uint16_t>(text.size()));
  out += text;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <std::unsigned_integral T>
  T take() {
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
    }
    bytes_.remove_prefix(sizeof(T));
    return static_cast<T>(value);
  }
  std::string take_text() {
    const auto size = take<uint16_t>();
    if (size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }
  size_t left() const { return bytes_.size(); }
  bool ok() const { return ok_; }
  bool ok_and_at_end() const { return ok_ && bytes_.empty(); }
  void fail() { ok_ = false; }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

constexpr size_t kPeerSize = sizeof(uint32_t) + sizeof(uint64_t);

struct Encoder {
  std::string& out;
  void kind(Kind kind) { put(out, static_cast<uint8_t>(kind)); }
  void operator()(const Ready& m) {
    kind(Kind::ready);
    put(out, m.incarnation);
  }
  void operator()(const Stopping&) { kind(Kind::stopping); }
  void operator()(const Peers& m) {
    kind(Kind::peers);
    put(out, static_cast<uint32_t>(m.peers.size()));
    for (const Peer& peer : m.peers) {
      put(out, peer.slot);
      put(out, peer.incarnation);
    }
  }
  void operator()(const Stop& m) {
    kind(Kind::stop);
    put(out, static_cast<uint8_t>(m.graceful ? 1 : 0));
  }
  void operator()(const Adopt& m) {
    kind(Kind::adopt);
    put(out, m.slot);
  }
  void operator()(const Unadopt& m) {
    kind(Kind::unadopt);
    put(out, m.slot);
  }
  void operator()(const ReopenLog&) { kind(Kind::reopen_log); }
  void operator()(const Nodes& m) {
    kind(Kind::nodes);
    put_text(out, m.self);
    put(out, static_cast<uint8_t>(m.calm ? 1 : 0));
    const size_t count = std::min(m.nodes.size(), kMaxNodes);
    put(out, static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) {
      put_text(out, m.nodes[i].key);
      put(out, m.nodes[i].remaining_ms);
      put_text(out, m.nodes[i].adopter);
    }
  }
  void operator()(const Bury&) { kind(Kind::bury); }
  void operator()(const Buried&) { kind(Kind::buried); }
};

Peers decode_peers(Reader& in) {
  Peers message;
  const auto count = in.take<uint32_t>();
  if (in.left() != count * kPeerSize) {
    in.fail();
    return message;
  }
  for (uint32_t i = 0; i < count; ++i) {
    Peer peer;
    peer.slot = in.take<uint32_t>();
    peer.incarnation = in.take<uint64_t>();
    message.peers.push_back(peer);
  }
  return message;
}

Nodes decode_nodes(Reader& in) {
  Nodes message;
  message.self = in.take_text();
  const auto calm = in.take<uint8_t>();
  if (calm > 1) in.fail();
  message.calm = calm == 1;
  const auto count = in.take<uint32_t>();
  if (count > kMaxNodes) in.fail();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    Node node;
    node.key = in.take_text();
    node.remaining_ms = in.take<uint64_t>();
    node.adopter = in.take_text();
    message.nodes.push_back(std::move(node));
  }
  return message;
}

std::optional<Message> decode_body(Reader& in) {
  const auto kind = in.take<uint8_t>();
  switch (static_cast<Kind>(kind)) {
    case Kind::ready:
      return Ready{in.take<uint64_t>()};
    case Kind::stopping:
      return Stopping{};
    case Kind::peers:
      return decode_peers(in);
    case Kind::stop: {
      const auto graceful = in.take<uint8_t>();
      if (graceful > 1) in.fail();
      return Stop{graceful == 1};
    }
    case Kind::adopt:
      return Adopt{in.take<uint32_t>()};
    case Kind::unadopt:
      return Unadopt{in.take<uint32_t>()};
    case Kind::reopen_log:
      return ReopenLog{};
    case Kind::nodes:
      return decode_nodes(in);
    case Kind::bury:
      return Bury{};
    case Kind::buried:
      return Buried{};
  }
  return std::nullopt;
}

}  // namespace

std::string encode(const Message& message) {
  std::string out;
  put(out, kControlVersion);
  std::visit(Encoder{out}, message);
  return out;
}

std::optional<Message> decode(std::string_view bytes) {
  Reader in(bytes);
  if (in.take<uint8_t>() != kControlVersion) return std::nullopt;
  std::optional<Message> message = decode_body(in);
  if (!in.ok_and_at_end()) return std::nullopt;
  return message;
}

}  // namespace control
