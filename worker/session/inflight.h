// QoS 1 and 2 messages sent to a client and not yet acknowledged, in the order they were sent. [MQTT5 4.3, 4.4, 4.6]
//
//   QoS 1:  publish ──PUBACK──> free
//   QoS 2:  publish ──PUBREC──> pubrel ──PUBCOMP──> free
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <unordered_map>

#include "shared/base/ring.h"
#include "worker/session/delivery.h"

namespace session {

class Inflight {
 public:
  enum class State : uint8_t { publish, pubrel };
  struct Entry {
    uint16_t packet_id = 0;  // 0: acknowledged, waits for those before it to leave
    State state = State::publish;
    bool unsent = false;  // not yet sent again since the client came back
    bool tried = false;   // may have been sent before: DUP
    Delivery delivery;    // its message is released once PUBREC has come
  };

  size_t size() const { return live_; }
  bool empty() const { return live_ == 0; }
  // Takes a free packet id and records the delivery. REQUIRES: size() < 65535.
  Entry& add(Delivery delivery);
  // Puts an entry back as it was (resumed from elsewhere).
  void restore(Entry entry);
  Entry* find(uint16_t packet_id);
  // REQUIRES: the entry is here.
  void remove(Entry& entry);
  void clear();

  // In sending order, live entries only. If `f` returns a bool, false ends it.
  template <typename F>
  void for_each(F&& f) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].packet_id == 0) continue;
      if constexpr (std::is_void_v<std::invoke_result_t<F, Entry&>>) {
        f(entries_[i]);
      } else if (!f(entries_[i])) {
        return;
      }
    }
  }

  uint16_t next_id() const { return next_id_; }
  void set_next_id(uint16_t id) { next_id_ = id; }

 private:
  // Of live entries: how many have been put in before it, ever.
  using Places = std::unordered_map<uint16_t, uint64_t>;

  Entry& append(Entry entry);
  // What the entry at `i` has, or would have, if ids count up without a gap. REQUIRES: !entries_.empty().
  uint16_t id_at(size_t i) { return static_cast<uint16_t>((entries_.front().packet_id - 1 + i) % 65535 + 1); }
  void note_places();
  void drop_holes();

  base::Ring<Entry> entries_;  // the first one is live
  // Null while the ids in entries_, those of holes too, count up by one: then an id says where its entry is.
  std::unique_ptr<Places> places_;
  uint64_t gone_ = 0;  // entries that have been taken out at the front, ever
  uint32_t live_ = 0;
  uint16_t next_id_ = 1;
};

}  // namespace session
