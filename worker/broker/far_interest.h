// In a cluster, at worker 0: what other hosts want, as the gateway told last, is in the store. A host that starts while
// another one or Redis is down has nobody who could say it; what it accepted meanwhile for sessions there would be
// lost.
//
// That there is something is stored, not how much: members of a group come and go more often than groups.
//
// A SUBACK on another host waits until it is stored here (contract C5 would not outlive this host's processes
// otherwise): the gateway marks the place in its stream, as workers do in theirs, and the answer comes when that is in
// the store. A store that can write nothing is not waited for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "worker/broker/core.h"

namespace broker {

class FarInterest {
 public:
  explicit FarInterest(Core& core) : core_(core) {}

  // Whether a meta record of that name is one of these.
  static bool is(std::string_view name);
  // What it says. False: it is none of these.
  static bool read(std::string_view name, std::string_view& group, std::string_view& filter);

  // `group`: empty for an ordinary route.
  void keep(std::string_view group, std::string_view filter);
  void forget(std::string_view group, std::string_view filter);

  // The gateway asks for `marked` when what it has told so far is stored. False: malformed.
  bool on_mark(const WorkerId& gateway, std::string_view body);
  // Answers if the store is stuck. Now and then.
  void on_tick();

 private:
  bool is_kept_here() const;
  const std::string& key(std::string_view group, std::string_view filter);
  void answer(const WorkerId& gateway, uint64_t number);

  Core& core_;
  std::string key_;
  // The last mark, and up to which they are answered.
  WorkerId asked_by_;
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
};

}  // namespace broker
