#include "tests/support/hub_contract.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/support/hub_gateway.h"

namespace test {

const std::vector<HubCheck>& hub_checks() {
  static const std::vector<HubCheck> checks = [] {
    std::vector<HubCheck> all;
    for (const auto& theme : {membership_checks(), traffic_checks(), directory_checks(), state_checks()}) {
      all.insert(all.end(), theme.begin(), theme.end());
    }
    return all;
  }();
  return checks;
}

void check_hubs(const MakeHubWorld& make_world) {
  for (const HubCheck& check : hub_checks()) {
    INFO("check: ", std::string(check.name));
    const std::unique_ptr<HubWorld> world = make_world();
    check.run(*world);
  }
}

}  // namespace test
