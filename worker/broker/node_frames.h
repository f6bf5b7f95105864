// What the gateways of a cluster's hosts say to each other: frames in the batches of cluster::Hub::send() and
// datagram(). Little endian, pinned by a test.
//
//   frame = u8 type, u32 body length, body
//
// A batch is whole frames. Messages are written as on the bus (message_codec.h), but for their expiry: it is wall-clock
// milliseconds. Bodies are built and read with bus::Writer and bus::Reader.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace broker {

enum class NodeFrame : uint8_t {
  sync_begin = 1,  // u64 gateway it is meant for: everything this node wants follows
  route = 2,       // u8 wanted, text filter
  share = 3,       // u32 live members, u32 offline ones, text group, text filter
  sync_end = 4,    // u64 gateway it is meant for
  mark = 5,        // u64 number: what has been announced up to here...
  marked = 6,      // u64 number, u64 gateway that gave it: ...is known to all workers of the host that says so
  publish = 7,     // message
  part = 8,        // u64 serial, u32 size of a frame, u32 offset, bytes of it from there on: node_parts.h
  // u64 gateway, u64 how many QoS 0 messages it has sent this node before, u32 how many stand before this frame, behind
  // the frame of this kind before it: so it is known how many have not come.
  counted = 9,
  // Sessions on their way between hosts, node_imports.h and node_exports.h; tokens are the claimant's gateway's.
  pull = 20,            // u64 token, u64 epoch, u8 clean, text client id
  restart = 21,         // u64 token
  state_begin = 22,     // u64 token, then as on the bus; or u8 kClaimAnew
  state_delivery = 23,  // u64 token, then as on the bus
  state_end = 24,       // u64 token, then as on the bus
  cut_request = 25,     // u64 token, text key of the old owner's node
  cut = 26,             // u64 claimant's gateway, u64 token, u64 whose stream is cut here
  cut_sent = 27,        // u64 token, u64 our gateway, u8 whether there was a stream
  freeze = 28,          // u64 token, u32 n, n times u64 whose cut comes
  abort = 29,           // u64 token
  stale = 30,           // u64 epoch, text client id: it is safe here
  stray = 31,           // text client id, u8 qos, u8 retain, message: for a session that is there now
  // A message for a member of the node, and what became of it. `gateway` is the one that asks; its tokens are its own.
  shared_publish = 50,  // u64 gateway, u64 token, u8 repeat, text group, text filter, message
  shared_result = 51,   // u64 gateway, u64 token, u8 accepted
};

// Instead of whether there is a session: what is here is newer than the claim, so the directory has to be asked again.
inline constexpr char kClaimAnew = 2;

// It means something to the gateway that has sent it, or that it answers, and to no other.
inline bool dies_with_its_gateway(NodeFrame type) {
  return type >= NodeFrame::pull && type <= NodeFrame::abort && type != NodeFrame::cut;
}

inline constexpr size_t kNodeFrameHead = 5;

inline void append_node_frame_head(std::string& out, NodeFrame type, size_t body_size) {
  const auto size = static_cast<uint32_t>(body_size);
  char head[kNodeFrameHead];
  head[0] = static_cast<char>(type);
  std::memcpy(head + 1, &size, sizeof size);
  out.append(head, sizeof head);
}

inline void append_node_frame(std::string& out, NodeFrame type, std::string_view body) {
  append_node_frame_head(out, type, body.size());
  out.append(body);
}

// f(NodeFrame, std::string_view body) -> bool for every frame; false: f said so, or the batch is malformed.
template <typename F>
bool for_each_node_frame(std::string_view batch, F&& f) {
  while (!batch.empty()) {
    if (batch.size() < kNodeFrameHead) return false;
    uint32_t size = 0;
    std::memcpy(&size, batch.data() + 1, sizeof size);
    const auto type = static_cast<NodeFrame>(batch[0]);
    batch.remove_prefix(kNodeFrameHead);
    if (batch.size() < size || !f(type, batch.substr(0, size))) return false;
    batch.remove_prefix(size);
  }
  return true;
}

}  // namespace broker
