// What other workers send one that has just started: messages that its predecessor may have had already.
//
// A QoS 2 publisher that goes from worker P to Q sends again what was not acknowledged. P had accepted that and routes
// it; Q only says so. What Q is sent then is behind it for the publisher, and was for our predecessor: P's was read
// before Q got the session (takeovers.h). After our predecessor's death both come again, from two outboxes, or from the
// stores of P's and Q's replacements. So what comes is kept until all have sent such messages again, and then taken in
// the order in which it was accepted: the identities of accepted messages (accepted.h) are times. (DESIGN section 3.)
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "worker/broker/core.h"

namespace broker {

class Arrivals {
 public:
  explicit Arrivals(Core& core) : core_(core) {}

  // Until take_all().
  bool keeping() const { return keeping_; }
  bool keeps_of(const WorkerId& from) const { return kept_.contains(from.incarnation); }
  // `take` is called in its turn. REQUIRES: keeping().
  void keep(const WorkerId& from, const bus::Message& message, std::function<void()> take);
  // A frame that must stay behind what is kept of its sender. REQUIRES: keeps_of(from).
  void keep_behind(const WorkerId& from, std::function<void()> take);
  // It has died: what it had sent is in front of its end.
  void take_of(const WorkerId& from);
  // Everybody has sent again what was on its way to our predecessor; or nobody can say when that will be.
  void take_all();

 private:
  struct Kept {
    uint64_t accepted = 0;  // when; 0: it has no place among others'
    size_t bytes = 0;
    std::function<void()> take;
  };
  using Queues = std::map<uint64_t, std::deque<Kept>>;  // by the incarnation of the sender, none is empty
  void take_first(Queues::iterator queue);

  Core& core_;
  bool keeping_ = true;
  Queues kept_;
  size_t bytes_ = 0;
};

}  // namespace broker
