#include "shared/metrics/page.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <set>

#include "shared/base/unique_fd.h"

using namespace metrics;

TEST_CASE("metrics: two mappings of the pages see the same numbers, slot by slot") {
  const base::UniqueFd fd(Pages::create_memfd(3));
  const Pages writer(fd.get(), 3);
  const Pages reader(fd.get(), 3);
  writer.slot(1).add(Counter::bytes_sent, 5);
  writer.slot(1).add(Counter::bytes_sent);
  writer.slot(2).set(Gauge::connections, 7);
  writer.slot(2).add(Gauge::connections, -3);
  CHECK(reader.slot(1).get(Counter::bytes_sent) == 6);
  CHECK(reader.slot(2).get(Gauge::connections) == 4);
  CHECK(reader.slot(0).get(Counter::bytes_sent) == 0);
  CHECK(reader.slot(0).get(Gauge::connections) == 0);
}

TEST_CASE("metrics: the mapping outlives the descriptor") {
  base::UniqueFd fd(Pages::create_memfd(1));
  const Pages pages(fd.get(), 1);
  fd.reset();
  pages.slot(0).set(Gauge::ready, 1);
  CHECK(pages.slot(0).get(Gauge::ready) == 1);
}

TEST_CASE("metrics: the layout is pinned") {
  CHECK(offsetof(Page, magic) == 0);
  CHECK(offsetof(Page, version) == 4);
  CHECK(offsetof(Page, gauges) == 8);
  CHECK(offsetof(Page, counters) == 8 + 64 * 8);
  const base::UniqueFd fd(Pages::create_memfd(2));
  CHECK(lseek(fd.get(), 0, SEEK_END) == 2 * 4096);
  Pages(fd.get(), 2).slot(1).add(Counter::connections_refused_limit, 0x0102);
  unsigned char bytes[8];
  REQUIRE(pread(fd.get(), bytes, 8, 4096) == 8);
  CHECK(std::string(reinterpret_cast<char*>(bytes), 4) == "PMQM");
  CHECK(bytes[4] == 1);
  REQUIRE(pread(fd.get(), bytes, 8, 4096 + 8 + 64 * 8 + 8) == 8);
  CHECK(bytes[0] == 2);
  CHECK(bytes[1] == 1);
}

TEST_CASE("metrics: pages of another version or size are refused") {
  const base::UniqueFd fd(Pages::create_memfd(1));
  CHECK_THROWS_AS(Pages(fd.get(), 2), std::runtime_error);
  const uint32_t version = kPageVersion + 1;
  REQUIRE(pwrite(fd.get(), &version, 4, 4) == 4);
  CHECK_THROWS_AS(Pages(fd.get(), 1), std::runtime_error);
}

TEST_CASE("metrics: every counter and gauge has a name of its own and a help text") {
  std::set<std::string_view> names;
  for (uint32_t i = 0; i < static_cast<uint32_t>(Counter::kCount); ++i) {
    CHECK(names.insert(name(static_cast<Counter>(i))).second);
    CHECK_FALSE(help(static_cast<Counter>(i)).empty());
  }
  for (uint32_t i = 0; i < static_cast<uint32_t>(Gauge::kCount); ++i) {
    CHECK(names.insert(name(static_cast<Gauge>(i))).second);
    CHECK_FALSE(help(static_cast<Gauge>(i)).empty());
  }
  CHECK(name(Counter::connections_accepted) == "connections_accepted");
  CHECK(name(Gauge::heartbeat_ms) == "heartbeat_ms");
}
