// In a cluster, at worker 0: what other hosts want, as the gateway told last, is in the store. A host that starts while
// another one or Redis is down has nobody who could say it; what it accepted meanwhile for sessions there would be
// lost.
//
// That there is something is stored, not how much: members of a group come and go more often than groups.
#pragma once

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

 private:
  bool is_kept_here() const;
  const std::string& key(std::string_view group, std::string_view filter);

  Core& core_;
  std::string key_;
};

}  // namespace broker
