// What workers say to each other: the frames inside a Link's stream. Layouts are little endian, pinned by a test;
// any change bumps kBusVersion (link.h).
//
// Small frames are plain structs here with one encode and one decode function; those that carry a message append it
// (message_codec.h). Strings are u16 length + bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace bus {

enum class FrameType : uint8_t {
  ack = 0,  // Link::kAckType
  sync_end = 1,
  publish = 2,
  shared_publish = 3,
  shared_result = 4,
  route = 5,
  share = 6,
  claim = 7,
  grant = 8,
  superseded = 9,
  held = 10,
  release = 11,
  holding = 12,
  pull = 13,
  state_begin = 14,
  state_delivery = 15,
  state_end = 16,
  cut_request = 17,
  cut = 18,
  cut_sent = 19,
  freeze = 20,
  stale = 21,
  hang_up = 71,  // to whom has a session: u64 epoch, text client id: its connection is to be closed (directory.h)
  hung_up = 72,  // its answer: text client id
  stored = 22,   // u64 numbers of frames with kWantStored; with kRefused: it was refused (mqtt.max_retained)
  retain_set = 23,
  retain_query = 24,
  retain_item = 25,
  retain_end = 26,
  retain_credit = 27,
  retain_cancel = 28,
  departed = 29,
  recovered = 30,
  mark = 31,    // to the gateway, and from it to worker 0: u64 number of an announcement that ends here
  marked = 32,  // from it: every host of the cluster has it; to it: stored (far_interest.h)
  // Between home workers and the gateway, node_directory.h.
  cluster_claim = 33,       // u64 least epoch, u64 epoch of the session that is here, or 0, text client id
  cluster_granted = 34,     // u64 epoch, u8 Directory::Where, text client id
  cluster_held = 35,        // u64 epoch, u8 Directory::Outcome, text client id
  cluster_registered = 36,  // u64 epoch, u8 ours, text client id
  cluster_joined = 37,      // from the gateway: what is held is to be registered
  cluster_lost = 73,        // from it: the cluster cannot be asked
  // To the claimant of a session that another host holds, node_imports.h.
  restart = 38,      // u64 claim: its state begins anew
  reclaim = 39,      // u64 claim: it has come to another worker here meanwhile
  stray = 67,        // to and from it: text client id, u8 qos, u8 retain, message (strays.h)
  life = 66,         // from it: u64 cluster, text key of this host's node
  redis_lost = 68,   // to the gateway: the worker was in the cluster before Redis lost what it had
  predecessor = 62,  // to the gateway: things are asked for that only its predecessor knew who wants
  // To the gateway, what its predecessor had told of other hosts: as `route` and `share`.
  predecessor_route = 69,
  predecessor_share = 70,
  claim_refused = 61,   // u64 claim: the session may be on another host, which cannot be asked
  takeover_abort = 60,  // to the holder: u64 claim: the claimant has given up
  // Retained messages in a cluster, between a topic's home and the gateway (retained_home.h, retained_sync.h).
  retain_state = 40,    // to a home: u8 whether Redis is there, u64 versions are higher than this
  retain_order = 41,    // to the gateway: u64 the version must be higher than this, message
  retain_ordered = 42,  // to the home, of its next ones: u64 versions; 0: Redis has not decided
  retain_change = 43,   // to a home: u64 version, u8 whether it is of a snapshot, message
  retain_stored = 44,   // to the gateway: u64 that many changes are stored, u64 that round has ended
  retain_round = 45,    // to a home: u8 0 or 2 a snapshot follows, 1 that was it, u64 number of the round, u64 cluster
  retain_offer = 46,    // to the gateway: u64 version, message
  retain_offered = 47,  // to the home, of its next one: u64 the version that is there; 0: it could not be asked
  // The copy of what a worker stores, for the other hosts (copier.h, node_copies.h).
  copy = 63,        // to the gateway: u64 round, u8 CopyStep, batch
  copied = 64,      // from it: u64 round, u64 so many steps of it are done
  copy_state = 65,  // from it: u8 CopyState
  // Shared groups over hosts (share_sender.h, share_receiver.h), between a worker and its gateway.
  shared_where = 50,  // to it: u64 token, text group, text filter, text publisher: which host may take a message
  shared_there = 51,  // from it: u64 token, text node; empty: none
  shared_at = 52,     // to it: u64 token, u8 repeat, text node, text group, text filter, message
  shared_known = 53,  // from it: u64 token, u64 and u64 identity, text group, text filter: has a member here that?
  shared_go = 54,     // from it: u64 and u64 identity, text group, text filter: the member may have it now
};

inline constexpr uint64_t kRefused = uint64_t{1} << 63;

enum class CopyStep : uint8_t { begin = 0, batch = 1, finish = 2 };
enum class CopyState : uint8_t {
  away = 0,    // no copies now, begin anew when they are possible again
  there = 1,   // copies are possible
  failed = 2,  // the last step was refused: begin anew a little later
};

// Builds a frame body.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) { out_.clear(); }
  template <typename T>
  Writer& put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& bytes(std::string_view s) {
    out_.append(s);
    return *this;
  }
  Writer& text(std::string_view s) {
    put(static_cast<uint16_t>(s.size()));
    out_.append(s);
    return *this;
  }

 private:
  std::string& out_;
};

// Reads a frame body; after any failure ok() is false and values are zero.
class Reader {
 public:
  explicit Reader(std::string_view body) : rest_(body) {}
  template <typename T>
  T get() {
    T value{};
    if (rest_.size() < sizeof value) {
      ok_ = false;
      rest_ = {};
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string_view text() { return bytes(get<uint16_t>()); }
  std::string_view rest() { return bytes(rest_.size()); }
  std::string_view bytes(size_t n) {
    if (rest_.size() < n) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace bus
