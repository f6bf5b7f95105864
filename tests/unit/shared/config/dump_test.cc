#include "shared/config/dump.h"

#include <doctest/doctest.h>

#include "shared/config/load.h"
#include "shared/config/schema.h"

using namespace config;

TEST_CASE("config dump: it loads to the same configuration, elsewhere too") {
  const char* texts[] = {
      "{}",
      R"({"log_file":"","stall_timeout":0.3234567890123,"workers":{"b":{"listen":"mqtt://[::]:2","count":"cpu*2"},
          "a.x y":{"listen":["mqtt://1.2.3.4:1","mqtt://1.2.3.4:9"],"context":{"max_connections":4294967295}}},
          "mqtt":{"max_queued_bytes":9007199254740991,"queue_full":"drop_old"},"daemonize":true})",
      R"({"redis":{}})",
      R"({"redis":{"url":"redis://u:p@[::1]:5/1","sentinels":["a:1","b"],"sentinel_user":"x",
          "sentinel_password":"y","node_id":"n","lease":1.5}})",
  };
  for (const char* text : texts) {
    const Loaded first = load_text(text, {"/etc/mm", 3});
    INFO(report("first", first.problems));
    REQUIRE(first.ok());
    const Loaded second = load_text(dump(first.config, Secrets::shown), {"/elsewhere", 1});
    INFO(report("second", second.problems));
    REQUIRE(second.ok());
    CHECK(dump(second.config, Secrets::shown) == dump(first.config, Secrets::shown));
    CHECK(second.config.process_count() == first.config.process_count());
    CHECK(second.config.stall_timeout == first.config.stall_timeout);
    CHECK(second.config.workers.front().name == first.config.workers.front().name);
  }
}

TEST_CASE("config dump: for other eyes without passwords") {
  const Config config =
      load_text(R"({"redis":{"url":"redis://u:secret@h/1","sentinels":["s"],"sentinel_password":"hidden"}})", {"/", 1})
          .config;
  CHECK(dump(config, Secrets::shown).find("\"redis://u:secret@h/1\"") != std::string::npos);
  CHECK(dump(config, Secrets::masked).find("\"redis://u:***@h/1\"") != std::string::npos);
  CHECK(dump(config, Secrets::shown).find("\"sentinel_password\": \"hidden\"") != std::string::npos);
  CHECK(dump(config, Secrets::masked).find("\"sentinel_password\": \"***\"") != std::string::npos);
}

TEST_CASE("config reference: every option of the schema is in the table") {
  const std::string table = reference_markdown();
  for (const Option& option : options()) {
    CHECK(table.find("| `" + std::string(option.path) + "` |") != std::string::npos);
    CHECK_FALSE(option.help.empty());
  }
  CHECK(table.find("| `mqtt.max_inflight` | `20` | a whole number from 1 to 65535 |") != std::string::npos);
  CHECK(table.find("| `workers.*.count` | `\"cpu*1\"` |") != std::string::npos);
}

TEST_CASE("config schema: defaults are within the bounds") {
  const Config config = defaults({"/etc/mm", 1});
  const Loaded again = load_text(dump(config, Secrets::shown), {"/etc/mm", 1});
  INFO(report("defaults", again.problems));
  CHECK(again.ok());
}
