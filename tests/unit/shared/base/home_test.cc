#include "shared/base/home.h"

#include <doctest/doctest.h>

using base::home_of;

// What lies in the stores rests on these numbers.
TEST_CASE("home: it is pinned") {
  CHECK(home_of("", 8) == 4);
  CHECK(home_of("a", 8) == 4);
  CHECK(home_of("a/b", 8) == 5);
  CHECK(home_of("sensors/1/temperature", 8) == 7);
  CHECK(home_of("$SYS/x", 8) == 3);
  CHECK(home_of("\xC3\xA4", 8) == 6);
  CHECK(home_of("a/b", 1'000'003) == 76144);
  CHECK(home_of("sensors/1/temperature", 1'000'003) == 507673);
}

TEST_CASE("home: every slot is the home of about as many keys") {
  int homes[4] = {};
  for (int i = 0; i < 4000; ++i) ++homes[home_of("client-" + std::to_string(i), 4)];
  for (const int count : homes) CHECK((count > 900 && count < 1100));
  CHECK(home_of("anything", 1) == 0);
}
