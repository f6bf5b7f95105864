// This worker's share of the host's retained messages, in a topic-shaped tree: a query costs what its filter's levels
// have for prefixes, not what the store holds. [MQTT5 3.3.1.3]
//
// Deletions that are to be remembered for a while are kept, too: tombstones, messages without a payload, which no query
// finds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shared/bus/message.h"
#include "worker/router/retained_stamp.h"

namespace router {

class Retained {
 public:
  Retained();
  ~Retained();
  Retained(const Retained&) = delete;
  Retained& operator=(const Retained&) = delete;

  // Stores (or, with an empty payload, deletes) the retained message of its topic. False: refused, because a new topic
  // would exceed `max_messages` (0 = unlimited).
  bool set(const bus::MessageRef& message, uint64_t max_messages = 0);
  const bus::MessageRef* find(std::string_view topic) const;
  size_t count() const;  // this and the next without tombstones
  size_t bytes() const;  // sum of Message::footprint()
  size_t tombstones() const;
  size_t nodes() const;  // tree nodes without the root, for leak tests

  // --- with versions ---
  struct Entry {
    bus::MessageRef message;  // null: there is nothing
    RetainedStamp stamp;
  };
  // Whatever is there.
  Entry entry(std::string_view topic) const;
  // Whatever was there before; without a payload as a tombstone.
  void put(const bus::MessageRef& message, const RetainedStamp& stamp);
  // REQUIRES: entry(topic) is something.
  void restamp(std::string_view topic, const RetainedStamp& stamp);
  void erase(std::string_view topic);

  // A query that is answered in slices. It survives changes of the tree between slices: what is stored, unchanged, from
  // its begin to its end is returned exactly once; what changes meanwhile may or may not be.
  // Expired messages are left out. A leading wildcard leaves '$'-topics out [MQTT-4.7.2-1].
  class Cursor {
   public:
    explicit Cursor(std::string_view filter, bool dollar_too = false);
    ~Cursor();
    Cursor(Cursor&&) noexcept;
    Cursor& operator=(Cursor&&) noexcept;
    bool done() const;

   private:
    friend class Retained;
    struct State;
    std::unique_ptr<State> state_;
  };
  // Appends up to `max` messages to `out`, visiting a bounded number of nodes per call (so it may append fewer, even
  // none, and still not be done).
  void next(Cursor& cursor, size_t max, base::MonoMs now, std::vector<bus::MessageRef>& out) const;

  // The same with everything that is there, expired messages and tombstones too; any number of a slice's.
  void scan(Cursor& cursor, std::vector<Entry>& out) const;

  // Appends up to `max` expired messages and tombstones, going round the tree over many calls.
  void find_expired(base::MonoMs now, size_t max, std::vector<Entry>& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace router
