// Messages between the master and a worker, over a SOCK_SEQPACKET socketpair: one packet = one message, some with
// descriptors (SCM_RIGHTS). Version and layout are pinned by a test; the first byte is kControlVersion.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace control {

inline constexpr uint8_t kControlVersion = 2;

// --- worker -> master ---
// The store is open, sessions are loaded, routes are synchronised with all live peers: accepting.
struct Ready {
  uint64_t incarnation = 0;
  bool operator==(const Ready&) const = default;
};
// The worker has closed its bus and finished what a stop asks for; it exits next.
struct Stopping {
  bool operator==(const Stopping&) const = default;
};

// --- master -> worker ---
// Which processes make up the host's bus. Sent at start and after every change; complete each time.
// A slot that is absent is dead: its process has been reaped (its streams have ended).
struct Peer {
  uint32_t slot = 0;
  uint64_t incarnation = 0;
  bool operator==(const Peer&) const = default;
};
struct Peers {
  std::vector<Peer> peers;  // includes the receiver itself
  bool operator==(const Peers&) const = default;
};
// Stop: close the listeners, say goodbye to clients (0x8B), flush, exit 0.
struct Stop {
  bool graceful = false;
  bool operator==(const Stop&) const = default;
};
// C1: accept on another slot's listening sockets until Unadopt. Carries the descriptors, in the order of that slot's
// listeners.
struct Adopt {
  uint32_t slot = 0;
  bool operator==(const Adopt&) const = default;
};
struct Unadopt {
  uint32_t slot = 0;
  bool operator==(const Unadopt&) const = default;
};
// The log file was moved away: write to a new one.
struct ReopenLog {
  bool operator==(const ReopenLog&) const = default;
};

// To a gateway: this host's node is not needed any more, see Hub::bury().
struct Bury {
  bool operator==(const Bury&) const = default;
};

// --- gateway -> master ---
// It has been done.
struct Buried {
  bool operator==(const Buried&) const = default;
};
// The nodes of the cluster as the gateway last saw them, for `status`. At most kMaxNodes of them travel.
struct Node {
  std::string key;
  uint64_t remaining_ms = 0;  // of its lease
  std::string adopter;        // key of the node whose host it goes on at; empty: its own
  bool operator==(const Node&) const = default;
};
struct Nodes {
  std::string self;   // the key of this host's node
  bool calm = false;  // who is not among them had the time to join
  std::vector<Node> nodes;
  bool operator==(const Nodes&) const = default;
};
inline constexpr size_t kMaxNodes = 200;

using Message = std::variant<Ready, Stopping, Peers, Stop, Adopt, Unadopt, ReopenLog, Nodes, Bury, Buried>;

std::string encode(const Message& message);
// nullopt: wrong version or malformed.
std::optional<Message> decode(std::string_view bytes);

}  // namespace control
