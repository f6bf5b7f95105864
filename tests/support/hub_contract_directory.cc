// Who has the session of a client id.
#include "tests/support/hub_gateway.h"

namespace test {
namespace {

using namespace contract;

void claim_of_the_unknown(HubWorld& world) {
  Gateway a(world, "a", 1);
  const auto first = a.claim(kBytes);
  CHECK(first.status == Status::ok);
  CHECK(first.value.epoch > 0);
  CHECK(first.value.previous.empty());
  CHECK(a.holder(kBytes).empty());
  CHECK(a.claim("other").value.epoch > first.value.epoch);
  const uint64_t far = first.value.epoch + 1'000'000'000'000;
  CHECK(a.claim("third", far).value.epoch == far);
  CHECK(a.claim("third").value.epoch > far);
}

void claim_from_the_holder(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t first = a.own("c");
  CHECK(a.holder("c") == a.key);
  const auto claimed = b.claim("c");
  CHECK(claimed.value.previous == a.key);
  CHECK(claimed.value.epoch > first);
  CHECK(b.holder("c") == a.key);
  const auto held = b.hold("c", claimed.value.epoch);
  CHECK(held.status == Status::ok);
  CHECK(held.value.holder == b.key);
  CHECK(held.value.previous == a.key);
  CHECK(held.value.epoch == claimed.value.epoch);
  CHECK(a.holder("c") == b.key);
  CHECK(b.claim("c").value.previous == b.key);
}

void chain_of_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  a.own("x");
  const auto second = b.claim("x").value;
  const auto third = c.claim("x").value;
  CHECK(second.previous == a.key);
  CHECK(third.previous == b.key);
  CHECK(third.epoch > second.epoch);
  // b has got it before c wants it from b: it holds, and is told of a newer claim.
  const auto held = b.hold("x", second.epoch).value;
  CHECK(held.holder == b.key);
  CHECK(held.previous == a.key);
  CHECK(held.epoch == third.epoch);
  const auto last = c.hold("x", third.epoch).value;
  CHECK(last.holder == c.key);
  CHECK(last.previous == b.key);
  CHECK(last.epoch == third.epoch);
}

void claim_again(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  a.own("x");
  const auto first = b.claim("x").value;
  const auto again = b.claim("x").value;  // the first answer may have been lost
  CHECK(again.previous == a.key);
  CHECK(again.epoch > first.epoch);
  CHECK(b.hold("x", again.epoch).value.holder == b.key);
  CHECK(b.hold("x", again.epoch).value == Held{again.epoch, b.key, ""});
}

void hold_without_a_claim(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  CHECK(a.hold("x", 100).value == Held{100, a.key, ""});
  CHECK(b.hold("x", 50).value == Held{100, a.key, ""});
  CHECK(b.hold("x", 200).value == Held{200, b.key, a.key});
  CHECK(a.hold("x", 100).value == Held{200, b.key, ""});
  CHECK(a.claim("x").value.epoch > 200);
}

void old_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t old = a.claim("x").value.epoch;
  const uint64_t held = b.own("x");
  CHECK(a.hold("x", old).value == Held{held, b.key, ""});
  CHECK(a.withdraw("x", old) == Status::ok);
  CHECK(a.release("x", old) == Status::ok);
  CHECK(a.holder("x") == b.key);
}

void withdrawing(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  a.own("x");
  const uint64_t epoch = b.claim("x").value.epoch;
  CHECK(b.withdraw("x", epoch) == Status::ok);
  CHECK(b.withdraw("x", epoch) == Status::ok);
  CHECK(c.holder("x") == a.key);
  const auto claimed = c.claim("x").value;
  CHECK(claimed.previous == a.key);
  CHECK(claimed.epoch > epoch);
  const uint64_t alone = b.claim("y").value.epoch;
  CHECK(b.withdraw("y", alone) == Status::ok);
  CHECK(c.claim("y").value.previous.empty());
}

void releasing(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t epoch = a.own("x");
  CHECK(b.release("x", epoch + 10) == Status::ok);  // not b's
  CHECK(a.release("x", epoch - 1) == Status::ok);   // an older one
  CHECK(b.holder("x") == a.key);
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(b.holder("x").empty());
  const auto claimed = b.claim("x").value;
  CHECK(claimed.previous.empty());
  CHECK(claimed.epoch > epoch);
  CHECK(b.release("x", claimed.epoch) == Status::ok);  // only claimed
  CHECK(a.claim("x").value.previous.empty());
}

void releasing_what_another_claims(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  const uint64_t epoch = a.own("x");
  const uint64_t claimed = b.claim("x").value.epoch;
  CHECK(a.release("x", epoch) == Status::ok);
  CHECK(b.holder("x").empty());
  CHECK(b.hold("x", claimed).value.holder == b.key);
  CHECK(a.holder("x") == b.key);
}

void withdrawing_what_others_claim(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  const uint64_t first = a.claim("x").value.epoch;
  const uint64_t second = b.claim("x").value.epoch;
  CHECK(b.withdraw("x", second) == Status::ok);
  const auto third = c.claim("x").value;
  CHECK(third.previous == a.key);  // who is about to have it
  CHECK(a.withdraw("x", first) == Status::ok);
  CHECK(b.claim("x").value.previous == c.key);
}

void who_claimed_before(HubWorld& world) {
  Gateway a(world, "a", 1);
  Gateway b(world, "b", 1);
  Gateway c(world, "c", 1);
  CHECK(a.before("x", 1) == Claimed{});
  a.own("x");
  const uint64_t first = b.claim("x").value.epoch;
  const uint64_t second = c.claim("x").value.epoch;
  const uint64_t third = a.claim("x").value.epoch;
  CHECK(a.before("x", third) == Claimed{second, c.key});
  CHECK(a.before("x", second) == Claimed{first, b.key});
  CHECK(a.before("x", first) == Claimed{0, a.key});
  CHECK(c.withdraw("x", second) == Status::ok);
  CHECK(c.claim("x").value.epoch > third);
  CHECK(a.before("x", third) == Claimed{first, b.key});
  b.hold("x", first);
  CHECK(a.before("x", third) == Claimed{0, b.key});
}

}  // namespace

std::vector<HubCheck> directory_checks() {
  return {
      {"an unknown client id can be claimed", claim_of_the_unknown},
      {"a claim names the holder", claim_from_the_holder},
      {"a claim names the claimant before", chain_of_claims},
      {"a claim that is repeated names the same", claim_again},
      {"the higher epoch holds", hold_without_a_claim},
      {"old claims change nothing", old_claims},
      {"a withdrawn claim leaves the holder", withdrawing},
      {"a released entry is forgotten", releasing},
      {"what another claims is not forgotten", releasing_what_another_claims},
      {"a withdrawn claim leaves those of others", withdrawing_what_others_claim},
      {"who claimed before is told, or the holder", who_claimed_before},
  };
}

}  // namespace test
