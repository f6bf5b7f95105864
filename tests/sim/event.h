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
  X(start, "a replacement starts in slot a")                            \
  /* a gateway and Redis (a = process) */                               \
  X(hub_connect, "connects, or learns that it cannot")                  \
  X(hub_broken, "notices that its connection broke")                    \
  X(hub_call, "Redis carries out what it asked for")                    \
  X(hub_answer, "answers reach it")                                     \
  X(hub_read, "an answer to a read that waited reaches it")             \
  X(hub_push, "a datagram or the news of a node reaches it")            \
  /* hosts (a = host) and Redis: faults, and what ends them */          \
  X(hub_cut, "the connection of process a to Redis breaks")             \
  X(host_cut, "nothing passes between host a and Redis")                \
  X(host_mend, "it passes again")                                       \
  X(host_slow, "all that passes between host a and Redis takes long")   \
  X(kill_host, "all processes of host a die")                           \
  X(host_back, "host a starts again")                                   \
  X(stop_host, "all processes of host a stand still")                   \
  X(go_host, "they go on")                                              \
  X(redis_down, "Redis goes away")                                      \
  X(redis_up, "it is back, as it was")                                  \
  X(redis_empty, "it is back, or just restarted, empty")                \
  X(redis_older, "the same with what it had some time ago")             \
  X(redis_full, "Redis refuses to write")                               \
  X(redis_room, "it has room again")

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
