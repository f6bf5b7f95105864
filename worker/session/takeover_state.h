// What a session remembers while a takeover's cut travels through the streams. The algorithm is in
// worker/broker/takeover.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "worker/session/delivery.h"

namespace session {

// A stream of messages is everything one worker process publishes; its name is the process's incarnation.
using Origin = uint64_t;

// At the new owner: messages of an origin up to its cut come through the old owner, later ones directly. Until the old
// owner's part is complete direct messages are held, whichever side of the cut they are on: should the old owner die,
// what it had not forwarded is delivered from here.
struct Inbound {
  struct Gate {
    std::optional<uint64_t> cut;  // sequence; unset: the marker has not come yet
    bool ended = false;           // the origin died: nothing comes directly any more
    bool part_done = false;       // the old owner has forwarded its part, or has died
    uint64_t forwarded = 0;       // highest sequence the old owner forwarded
    std::vector<Delivery> held;
    bool open() const { return part_done && (cut || ended); }
    // Direct messages above this are the new owner's. REQUIRES: open().
    uint64_t boundary() const { return cut ? *cut : forwarded; }
  };
  uint32_t from_slot = 0;  // the old owner
  uint64_t from_incarnation = 0;
  uint64_t claim = 0;  // this worker's claim number: names the takeover
  std::map<Origin, Gate> gates;
  size_t held_bytes = 0;      // of all gates
  bool unsubscribed = false;  // filters were given up here that the old owner still forwards for
};

// At the old owner: forwards an origin's messages up to its cut.
struct Outbound {
  struct Part {
    std::optional<uint64_t> cut;
    bool ended = false;
    bool told = false;  // PART_END was sent
  };
  uint32_t to_slot = 0;  // the new owner
  uint64_t to_incarnation = 0;
  uint64_t claim = 0;  // the new owner's claim number
  std::map<Origin, Part> parts;
};

}  // namespace session
