// Everything that can happen next, as data: the scheduler draws one of the enabled events at every step.
#pragma once

#include <cstdint>
#include <string_view>

namespace sim {

#define SIM_EVENTS(X)                                                   \
  /* a worker (a = process) */                                          \
  X(turn, "advances, ends its turn, flushes")                           \
  X(hear_peers, "handles the master's next Peers message")              \
  X(forget_peer, "is told that the stream of dead process b has ended") \
  /* a link (a = wire, b = side) */                                     \
  X(dial, "side b opens a connection")                                  \
  X(establish, "side b has the other's greeting")                       \
  X(bus_deliver, "bytes reach side b")                                  \
  X(bus_writable, "side b writes more of what waits")                   \
  X(bus_broken, "side b notices that the connection broke")             \
  /* a client's connection (a = connection) */                          \
  X(accept, "the worker takes the connection")                          \
  X(upload, "bytes reach the worker")                                   \
  X(download, "bytes reach the client")                                 \
  X(socket_writable, "the worker writes more of what waits")            \
  X(hang_up, "the worker learns that the client closed")                \
  X(acknowledge, "the client sends the oldest acknowledgement it owes") \
  /* a client (a = identity) */                                         \
  X(act, "does something of its own")                                   \
  /* faults and time */                                                 \
  X(pass_time, "a ms pass")                                             \
  X(cut, "wire a breaks")                                               \
  X(kill, "process a dies")                                             \
  X(stop, "process a stands still")                                     \
  X(go, "process a goes on")                                            \
  X(start, "a replacement starts in slot a")

enum class EventKind : uint8_t {
#define X(name, help) name,
  SIM_EVENTS(X)
#undef X
};

struct Event {
  EventKind kind = EventKind::turn;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t weight = 1;
};

std::string_view to_string(EventKind kind);

}  // namespace sim
