#include "master/status.h"

#include <doctest/doctest.h>

#include "master/banner.h"
#include "master/table.h"
#include "shared/config/load.h"

using namespace master;

namespace {

Status example() {
  Status status;
  status.version = "1.2";
  status.config_file = "/w.json";
  status.pid = 10;
  status.started = 0;
  status.now = 90061;
  status.load_average = "0.1, 0.2, 0.3";
  status.groups = 1;
  status.workers = {{"mqtt/0", "mqtt://0.0.0.0:1 +1", "ready", 11, 1536, 3, 40, 5, 2, 1, 7, true, "ok", 99},
                    {"mqtt/1", "mqtt://0.0.0.0:1 +1", "starting", 12, 1024, 1, 2, 0, 0, 0, 0, false, "ok", 0},
                    {"mqtt/2", "mqtt://0.0.0.0:1 +1", "down", 0, 0, 0, 2, 0, 0, 0, 0, false, "ok", 0}};
  status.exits = {{"mqtt", "signal 9", 2}};
  status.all_ready = true;
  return status;
}

}  // namespace

TEST_CASE("status: JSON there and back, on one line") {
  const std::string json = to_json(example());
  CHECK(status_from_json(json) == example());
  CHECK(json.find('\n') == std::string::npos);
  CHECK_THROWS(status_from_json("{}"));
  CHECK_THROWS(status_from_json("no"));
}

TEST_CASE("status: a worker whose store is in trouble says so") {
  Status status = example();
  status.workers[0].store = "full";
  CHECK(status_tables(status).find("[store full]") != std::string::npos);
}

TEST_CASE("status: in a cluster it shows the nodes, and what waits") {
  Status status = example();
  CHECK(status.in_service());
  status.cluster = {"one",
                    "redis://h",
                    "joining",
                    false,
                    true,
                    8123,
                    2048,
                    7,
                    1,
                    5,
                    1,
                    1024,
                    2,
                    3,
                    4,
                    6,
                    8,
                    9,
                    {{"one.1", 8123, ""}, {"two.3", 0, "one.1"}}};
  CHECK_FALSE(status.in_service());
  status.cluster.ready = true;
  CHECK(status.in_service());
  CHECK(status_from_json(to_json(status)) == status);
  CHECK(status_tables(status).find(
            "node:one      fan-out:joining  lease:8.1s     copied:yes       inbox servers missing:1  "
            "unsure sessions:5\n"
            "waiting:2.0K  unanswered:7B    received:1.0K  redis:redis://h\n"
            "redis breaks:2  lost calls:3  refused calls:4  dropped QoS 0:6  lost QoS 0:9  warnings:1\n"
            "node   lease  adopted_by\n"
            "one.1  8.1s   -\n"
            "two.3  0.0s   one.1\n") != std::string::npos);
}

TEST_CASE("status: the tables") {
  setenv("TZ", "UTC", 1);
  CHECK(status_tables(example()) ==
        "---------------------------------------------------- GLOBAL STATUS "
        "----------------------------------------------------\n"
        "mqtt-master version:1.2         pid:10\n"
        "start time:1970-01-01 00:00:00  run 1 days 1 hours 1 minutes\n"
        "load average: 0.1, 0.2, 0.3     config:/w.json\n"
        "1 workers                       3 processes\n"
        "worker_name  exit_status  exit_count\n"
        "mqtt         signal 9     2\n"
        "--------------------------------------------------- PROCESS STATUS "
        "----------------------------------------------------\n"
        "pid      memory  listening            name    connections  clients  sessions  subscriptions  total_request  "
        "qps  status\n"
        "11       1.5K    mqtt://0.0.0.0:1 +1  mqtt/0  3            2        1         7              40             5 "
        "   [busy]\n"
        "12       1.0K    mqtt://0.0.0.0:1 +1  mqtt/1  1            0        0         0              2              0 "
        "   [starting]\n"
        "-        0B      mqtt://0.0.0.0:1 +1  mqtt/2  0            0        0         0              2              0 "
        "   [down]\n"
        "--------------------------------------------------- PROCESS STATUS "
        "----------------------------------------------------\n"
        "Summary  2.5K    -                    -       4            2        1         7              44             5 "
        "   [Summary]\n");
}

TEST_CASE("status: bytes for people") {
  struct Row {
    uint64_t bytes;
    const char* text;
  };
  for (const Row& row : {Row{0, "0B"},
                         {1023, "1023B"},
                         {1024, "1.0K"},
                         {1536, "1.5K"},
                         {1048576, "1.0M"},
                         {UINT64_C(5) << 40, "5.0T"},
                         {UINT64_C(5) << 50, "5120.0T"}}) {
    CHECK(human_bytes(row.bytes) == row.text);
  }
}

TEST_CASE("table: columns are as wide as they must be") {
  CHECK(align({{"a", "bb"}, {"ccc", "d"}}) == "a    bb\nccc  d\n");
  CHECK(rule("X", 9) == "--- X ---\n");
  CHECK(rule("", 3) == "---\n");
  CHECK(rule("LONG", 2) == " LONG \n");
}

TEST_CASE("banner: a row for each address") {
  const config::Loaded loaded = config::load_text(
      R"({"workers":{"mqtt":{"listen":["mqtt://0.0.0.0:1883","mqtt://[::]:1883"],"count":2}}})", {"/", 1}, "/w.json");
  CHECK(banner(loaded.config, "root", FanOut::none)
            .find("tcp    root  mqtt    mqtt://0.0.0.0:1883  2      [OK]\n"
                  "tcp    root  mqtt    mqtt://[::]:1883     2      [OK]\n") != std::string::npos);
  CHECK(banner_end(loaded.config, true) == "Input \"mqtt-master -c /w.json stop\" to stop. Start success.\n");
}

TEST_CASE("banner: a cluster that is none yet is never shown as one") {
  const config::Loaded loaded = config::load_text(
      R"({"workers":{"m":{"listen":"mqtt://0.0.0.0:1"}},"redis":{"url":"redis://:secret@h"}})", {"/", 1}, "/w.json");
  const auto row = [&](FanOut fan_out) { return banner(loaded.config, "root", fan_out); };
  CHECK(row(FanOut::up).find("redis  root  gateway  redis://:***@h    1      [OK]\n") != std::string::npos);
  CHECK(row(FanOut::joining).find("[joining]\n") != std::string::npos);
  CHECK(row(FanOut::redis_down).find("[redis down]\n") != std::string::npos);
  CHECK(banner_warning(FanOut::none) == "");
  CHECK(banner_warning(FanOut::up) == "");
  CHECK(banner_warning(FanOut::redis_down) ==
        "Warning: Redis cannot be reached. Until it can, nothing reaches the other hosts.\n");
}
