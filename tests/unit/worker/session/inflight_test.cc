#include "worker/session/inflight.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "shared/base/random.h"
#include "tests/support/messages.h"

namespace session {
namespace {

std::vector<uint16_t> ids(Inflight& inflight) {
  std::vector<uint16_t> found;
  inflight.for_each([&](const Inflight::Entry& entry) { found.push_back(entry.packet_id); });
  return found;
}

void add(Inflight& inflight, int count) {
  for (int i = 0; i < count; ++i) inflight.add(support::delivery("m", 1));
}

using Ids = std::vector<uint16_t>;

}  // namespace

TEST_CASE("inflight: packet ids count up from 1 and are kept in sending order") {
  Inflight inflight;
  add(inflight, 3);
  CHECK(ids(inflight) == Ids{1, 2, 3});
  CHECK(inflight.size() == 3);
}

TEST_CASE("inflight: an entry in the middle can be acknowledged, the others keep their order") {
  Inflight inflight;
  add(inflight, 4);
  inflight.remove(*inflight.find(2));
  inflight.remove(*inflight.find(3));
  CHECK(ids(inflight) == Ids{1, 4});
  CHECK(inflight.find(2) == nullptr);
}

TEST_CASE("inflight: a freed packet id is not the next one used") {
  Inflight inflight;
  add(inflight, 2);
  inflight.remove(*inflight.find(1));
  CHECK(inflight.add(support::delivery("m", 1)).packet_id == 3);
}

TEST_CASE("inflight: packet ids wrap from 65535 to 1, never 0") {
  Inflight inflight;
  inflight.set_next_id(65534);
  add(inflight, 3);
  CHECK(ids(inflight) == Ids{65534, 65535, 1});
}

TEST_CASE("inflight: a packet id in use is passed over") {
  Inflight inflight;
  add(inflight, 3);
  inflight.set_next_id(2);
  add(inflight, 1);
  CHECK(ids(inflight) == Ids{1, 2, 3, 4});
}

TEST_CASE("inflight: a packet id of a PUBREL that waits for its PUBCOMP is in use") {
  Inflight inflight;
  inflight.add(support::delivery("m", 2)).state = Inflight::State::pubrel;
  inflight.set_next_id(1);
  CHECK(inflight.add(support::delivery("m", 2)).packet_id == 2);
}

TEST_CASE("inflight: restored entries come back in the order in which they were restored") {
  Inflight from;
  add(from, 3);
  Inflight to;
  from.for_each([&](Inflight::Entry& entry) { to.restore(std::move(entry)); });
  to.set_next_id(from.next_id());
  CHECK(ids(to) == Ids{1, 2, 3});
  CHECK(to.add(support::delivery("m", 1)).packet_id == 4);
}

TEST_CASE("inflight: removing releases the message, and everything at the end") {
  Inflight inflight;
  const bus::MessageRef message = support::message({});
  Inflight::Entry& first = inflight.add(support::delivery(message, 1));
  inflight.remove(first);
  CHECK(inflight.empty());
  add(inflight, 5);
  inflight.clear();
  CHECK(inflight.empty());
  CHECK(ids(inflight).empty());
}

TEST_CASE("inflight: behind a first message that is never acknowledged no holes pile up") {
  Inflight inflight;
  add(inflight, 1);
  // With holes left in the list this would take gigabytes.
  for (int i = 0; i < 1'000'000; ++i) inflight.remove(inflight.add(support::delivery("m", 1)));
  CHECK(ids(inflight) == Ids{1});
}

TEST_CASE("inflight: acknowledged in any order, nothing is left") {
  Ids order{1, 2, 3, 4, 5};
  do {
    Inflight inflight;
    add(inflight, 5);
    for (const uint16_t id : order) inflight.remove(*inflight.find(id));
    REQUIRE(inflight.empty());
    REQUIRE(inflight.find(0) == nullptr);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("inflight: whatever order acknowledgements come in and ids are handed out, each id finds its entry") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    base::Random random(seed);
    Inflight inflight;
    inflight.set_next_id(static_cast<uint16_t>(65'000 + random.below(536)));
    Ids sent;
    for (int step = 0; step < 600; ++step) {
      const uint64_t dice = random.below(100);
      if (dice < 48) {
        sent.push_back(inflight.add(support::delivery("m", 1)).packet_id);
      } else if (dice < 96 && !sent.empty()) {
        // Of every second seed nearly in sending order, as clients do it.
        const size_t i = random.below(seed % 2 == 0 ? std::min<size_t>(sent.size(), 2) : sent.size());
        inflight.remove(*inflight.find(sent[i]));
        sent.erase(sent.begin() + static_cast<ptrdiff_t>(i));
      } else if (dice == 98) {
        inflight.set_next_id(static_cast<uint16_t>(1 + random.below(65'535)));
      } else if (dice == 99 && !sent.empty()) {
        inflight.set_next_id(sent[random.below(sent.size())]);
      }
      REQUIRE(ids(inflight) == sent);
      for (const uint16_t id : sent) REQUIRE(inflight.find(id)->packet_id == id);
      const auto any = static_cast<uint16_t>(random.below(65'536));
      REQUIRE((inflight.find(any) != nullptr) == (std::count(sent.begin(), sent.end(), any) == 1));
    }
  }
}

TEST_CASE("inflight: nearly all packet ids are in use, and acknowledged from the last to the first") {
  Inflight inflight;
  inflight.set_next_id(40'000);
  add(inflight, 65'534);
  CHECK(inflight.add(support::delivery("m", 1)).packet_id == 39'999);
  for (uint16_t id = 39'999; inflight.size() > 0; id = id == 1 ? 65'535 : static_cast<uint16_t>(id - 1)) {
    inflight.remove(*inflight.find(id));
  }
  CHECK(ids(inflight).empty());
}

}  // namespace session
