#include "shared/config/load.h"

#include <doctest/doctest.h>

#include "shared/config/dump.h"

using namespace config;

namespace {

const Environment kHost{"/etc/mm", 4, "node.one"};

Config good(std::string_view text) {
  const Loaded loaded = load_text(text, kHost);
  INFO(report("file", loaded.problems));
  REQUIRE(loaded.ok());
  return loaded.config;
}

// "where: what" of each problem, a line each.
std::string bad(std::string_view text) {
  const Loaded loaded = load_text(text, kHost);
  std::string out;
  for (const Problem& problem : loaded.problems) {
    out += (out.empty() ? "" : "\n") + problem.where + (problem.where.empty() ? "" : ": ") + problem.what;
  }
  return out;
}

}  // namespace

TEST_CASE("config: an empty object is the documented defaults") {
  const Config config = good("{}");
  CHECK(config.run_dir == "/etc/mm/run");
  CHECK(config.data_dir == "/etc/mm/data");
  CHECK(config.pid_file == "/etc/mm/run/mqtt-master.pid");
  CHECK(config.log_file == "/etc/mm/run/mqtt-master.log");
  CHECK(config.stdout_file == "/dev/null");
  CHECK(config.stop_timeout == 2);
  CHECK(config.stall_timeout == 5);
  REQUIRE(config.workers.size() == 1);
  CHECK(config.workers[0].name == "mqtt");
  CHECK(config.workers[0].count == 4);
  REQUIRE(config.workers[0].listen.size() == 1);
  CHECK(config.workers[0].listen[0].host == "127.0.0.1");
  CHECK(config.workers[0].listen[0].port == 1883);
  CHECK(config.mqtt.max_packet_size == 268435460);
  CHECK(config.mqtt.max_subscriptions == 100000);
  CHECK(config.mqtt.queue_full == QueueFull::drop_new);
}

TEST_CASE("config: every option reaches its field") {
  const Config config = good(R"({
    "run_dir": "/r", "data_dir": "../d", "pid_file": "p", "log_file": "", "stdout_file": "out",
    "log_level": "error", "log_format": "json", "user": "u", "group": "g", "daemonize": true,
    "stop_timeout": 0.5, "stall_timeout": 1, "drain_timeout": 3, "drain_rate": 9,
    "workers": {
      "one": {"listen": "mqtt://0.0.0.0:1", "count": 3, "reuse_port": false,
              "context": {"max_connections": 5, "proxy_protocol": false}},
      "zwei.b": {"listen": ["mqtt://[::]:2", "mqtt://10.0.0.1"], "count": "cpu*2"}},
    "mqtt": {"queue_full": "disconnect", "shared_subscription_strategy": "least_inflight", "session_expiry_max": 0,
             "max_queued_bytes": 9007199254740992, "retain_available": false},
    "store": {"sync": "always", "max_size": 1000000},
    "redis": {"url": "redis://u:p@h:7/1", "sentinels": ["s1", "s2:5"], "sentinel_master": "m", "prefix": "x:",
              "sentinel_user": "su", "sentinel_password": "sp",
              "node_id": "n-1", "redis_down": "accept", "lease": 2.5,
              "inbox": "h:1", "full_timeout": 5},
    "auth": {"allow_anonymous": true}
  })");
  CHECK(config.run_dir == "/r");
  CHECK(config.data_dir == "/etc/d");
  CHECK(config.pid_file == "/etc/mm/p");
  CHECK(config.log_file.empty());
  CHECK(config.stdout_file == "/etc/mm/out");
  CHECK(config.log_level == LogLevel::error);
  CHECK(config.log_format == LogFormat::json);
  CHECK(config.user == "u");
  CHECK(config.group == "g");
  CHECK(config.daemonize);
  CHECK(config.stop_timeout == 0.5);
  CHECK(config.drain_rate == 9);
  REQUIRE(config.workers.size() == 2);
  CHECK(config.workers[0].count == 3);
  CHECK_FALSE(config.workers[0].reuse_port);
  CHECK(config.workers[0].context.max_connections == 5);
  CHECK(config.workers[1].name == "zwei.b");
  CHECK(config.workers[1].count == 8);
  CHECK(config.workers[1].listen[0].host == "::");
  CHECK(config.workers[1].listen[1].port == 1883);
  CHECK(config.mqtt.queue_full == QueueFull::disconnect);
  CHECK(config.mqtt.shared_subscription_strategy == SharedStrategy::least_inflight);
  CHECK(config.mqtt.session_expiry_max == 0);
  CHECK(config.mqtt.max_queued_bytes == 9007199254740992);
  CHECK(config.store.sync == StoreSync::always);
  CHECK(config.store.max_size == 1000000);
  CHECK(config.redis.url == "redis://u:p@h:7/1");
  CHECK(config.redis.sentinels == std::vector<std::string>{"s1", "s2:5"});
  CHECK(config.redis.sentinel_master == "m");
  CHECK(config.redis.sentinel_user == "su");
  CHECK(config.redis.sentinel_password == "sp");
  CHECK(config.redis.prefix == "x:");
  CHECK(config.redis.node_id == "n-1");
  CHECK(config.redis.redis_down == RedisDown::accept);
  CHECK(config.redis.inbox == "h:1");
  CHECK(config.redis.full_timeout == 5);
  CHECK(config.redis.lease == 2.5);
  CHECK(config.slot_count() == 11);
  CHECK(slot_name(config, 2) == "one/2");
  CHECK(slot_name(config, 3) == "zwei.b/0");
  CHECK(&group_of_slot(config, 10) == &config.workers[1]);
}

TEST_CASE("config: a worker's count") {
  const auto count = [](const std::string& value) {
    return bad(R"({"workers":{"m":{"listen":"mqtt://127.0.0.1:1","count":)" + value + "}}}");
  };
  for (const char* fine : {"1", "256", "\"cpu\"", "\"cpu*1\"", "\"cpu*64\""}) CHECK(count(fine) == "");
  for (const char* wrong : {"0", "257", "-1", "1.5", "\"2\"", "\"cpu*\"", "\"cpu*0\"", "\"cpu*257\"", "\"cpu*x\"",
                            "\"cpu*1 \"", "\"cpu/2\"", "true", "null"}) {
    CHECK(count(wrong) == std::string("workers.m.count: found ") + wrong +
                              R"(, expected a whole number from 1 to 256, or "cpu", "cpu*1", "cpu*2", ...)");
  }
}

TEST_CASE("config: what is wrong is said with path, what was found and what was expected") {
  struct Row {
    std::string_view text;
    std::string_view problem;
  };
  const Row rows[] = {
      {R"([])", "found [], expected an object"},
      {R"({"daemonize":1})", "daemonize: found 1, expected true or false"},
      {R"({"log_level":"loud"})", R"(log_level: found "loud", expected one of "debug", "info", "warn", "error")"},
      {R"({"mqtt":{"max_inflight":0}})", "mqtt.max_inflight: found 0, expected a whole number from 1 to 65535"},
      {R"({"mqtt":{"max_inflight":65536}})", "mqtt.max_inflight: found 65536, expected a whole number from 1 to 65535"},
      {R"({"mqtt":{"max_inflight":-1}})", "mqtt.max_inflight: found -1, expected a whole number from 1 to 65535"},
      {R"({"mqtt":{"max_inflight":"20"}})",
       R"(mqtt.max_inflight: found "20", expected a whole number from 1 to 65535)"},
      {R"({"mqtt":[]})", "mqtt: found [], expected an object"},
      {R"({"stop_timeout":"2s"})", R"(stop_timeout: found "2s", expected a number from 0 to 3600)"},
      {R"({"stop_timeout":-0.1})", "stop_timeout: found -0.1, expected a number from 0 to 3600"},
      {R"({"run_dir":""})", R"(run_dir: found "", expected a path)"},
      {R"({"user":7})", "user: found 7, expected a text"},
      {R"({"mqtt":{"max_inflght":1}})", R"(mqtt.max_inflght: unknown key; did you mean "max_inflight"?)"},
      {R"({"worker":{}})", R"(worker: unknown key; did you mean "workers"?)"},
      {R"({"redis":{"url":"redis://me:secret@h:0"}})",
       R"(redis.url: found "redis://me:***@h:0": host or port is malformed, expected "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]")"},
      {R"({"redis":{"url":""}})",
       R"(redis.url: found "": not a Redis URL, expected "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]")"},
      {R"({"redis":{"url":7}})", "redis.url: found 7, expected a URL"},
      {R"({"redis":"redis://:secret@h"})", R"(redis: found "redis://:***@h", expected an object)"},
      {R"({"redis":{"url":"redis://:p@/1"}})",
       R"(redis.url: it names no host, expected one, or "redis.sentinels" that know it)"},
      {R"({"redis":{"prefix":""}})", R"(redis.prefix: found "", expected a text of 1 to 64 bytes)"},
      {R"({"redis":{"node_id":"a.b"}})",
       R"(redis.node_id: found "a.b", expected up to 64 letters, digits, "-" and "_")"},
      {R"({"redis":{"sentinels":["a:b"]}})",
       R"(redis.sentinels: found ["a:b"], expected an array of "HOST" or "HOST:PORT")"},
      {R"({"redis":{"sentinels":"a"}})", R"(redis.sentinels: found "a", expected an array of "HOST" or "HOST:PORT")"},
      {R"({"redis":{"sentinels":["a"],"sentinel_password":12345}})",
       R"(redis.sentinel_password: found number, expected a text)"},
      {R"({"redis":{"sentinel_password":"p"}})",
       R"(redis.sentinel_password: there are no Sentinels to ask for it, expected "redis.sentinels")"},
      {R"({"redis":{"sentinels":["a"],"sentinel_user":"u"}})",
       R"(redis.sentinel_user: it has no password, expected "redis.sentinel_password")"},
      {R"({"redis":{"inbox":"redis://h"}})", R"(redis.inbox: found "redis://h", expected "HOST" or "HOST:PORT")"},
      {R"({"redis":{"redis_down":"wait"}})", R"(redis.redis_down: found "wait", expected one of "refuse", "accept")"},
      {R"({"redis":{"lease":0.5}})", "redis.lease: found 0.5, expected a number from 1 to 3600"},
      {R"({"redis":{"leese":5}})", R"(redis.leese: unknown key; did you mean "lease"?)"},
      {R"({"xyzzy":1})", "xyzzy: unknown key"},
      {R"({"a b":1})", R"(["a b"]: unknown key)"},
      {R"({"workers":{}})", "workers: found {}, expected an object with a group or more"},
      {R"({"workers":{"m":{}}})", R"(workers.m: "listen" is missing, expected an address like "mqtt://0.0.0.0:1883")"},
      {R"({"workers":{"m":7}})", "workers.m: found 7, expected an object"},
      {R"({"workers":{"a/b":{"listen":"mqtt://1.2.3.4"}}})",
       R"(workers["a/b"]: expected a group name of 1 to 64 bytes without "/" and control characters)"},
      {R"({"workers":{"m":{"listen":[]}}})", "workers.m.listen: found [], expected an address or an array of 1 to 64"},
      {R"({"workers":{"m":{"listen":["mqtt://1.2.3.4",5]}}})", "workers.m.listen[1]: found 5, expected a URL"},
      {R"({"workers":{"m":{"listen":"mqtt://1.2.3.4","context":{"max_conections":1}}}})",
       R"(workers.m.context.max_conections: unknown key; did you mean "max_connections"?)"},
      {R"({"workers":{"a":{"listen":"mqtt://1.2.3.4:5"},"b":{"listen":"mqtt://1.2.3.4:5"}}})",
       R"(workers.b.listen: found "mqtt://1.2.3.4:5", which workers.a.listen has already)"},
      {R"({"mqtt":{"max_inflight":1,"max_inflight":2}})", "mqtt.max_inflight: given twice"},
      {R"({"workers":{"m":{"listen":"mqtt://1.2.3.4:5"},"m":{"listen":"mqtt://1.2.3.4:6"}}})",
       "workers.m: given twice"},
  };
  for (const Row& row : rows) CHECK(bad(row.text) == row.problem);
}

TEST_CASE("config: listening addresses") {
  const auto listen = [](const std::string& url) { return bad(R"({"workers":{"m":{"listen":")" + url + R"("}}})"); };
  const auto problem = [](const std::string& url, const std::string& what) {
    return "workers.m.listen: found \"" + url + "\": " + what;
  };
  const std::string form = "expected \"mqtt://ADDRESS:PORT\"";
  const std::string port = "expected a port from 1 to 65535 after the address, and nothing behind it";
  const auto address = [](const std::string& host) {
    return '"' + host + "\" is not a numeric address; expected one like 0.0.0.0, 127.0.0.1 or [::1]";
  };
  for (const char* fine : {"mqtt://1.2.3.4", "mqtt://[::1]:1", "mqtt://[::1]", "mqtt://0.0.0.0:65535"}) {
    CHECK(listen(fine) == "");
  }
  CHECK(listen("1883") == problem("1883", form));
  CHECK(listen("mqtt://[::1") == problem("mqtt://[::1", "\"[\" without \"]\", " + form));
  CHECK(listen("mqtt://localhost:1883") == problem("mqtt://localhost:1883", address("localhost")));
  CHECK(listen("mqtt://:1883") == problem("mqtt://:1883", address("")));
  CHECK(listen("mqtt://[1.2.3.4]:1") == problem("mqtt://[1.2.3.4]:1", address("1.2.3.4")));
  for (const char* wrong : {"mqtt://1.2.3.4:", "mqtt://1.2.3.4:0", "mqtt://1.2.3.4:65536", "mqtt://1.2.3.4:1x",
                            "mqtt://1.2.3.4:1/mqtt", "mqtt://[::1]x", "mqtt://1.2.3.4:-1"}) {
    CHECK(listen(wrong) == problem(wrong, port));
  }
  CHECK(listen("tcp://1.2.3.4") == problem("tcp://1.2.3.4", "unknown scheme \"tcp\", expected mqtt://"));
  CHECK(listen("mqtts://1.2.3.4") ==
        problem("mqtts://1.2.3.4", "TLS (mqtts://) is not in this build, expected mqtt://"));
  CHECK(listen("ws://1.2.3.4") == problem("ws://1.2.3.4", "WebSocket (ws://) is not in this build, expected mqtt://"));
  CHECK(listen("wss://1.2.3.4") ==
        problem("wss://1.2.3.4", "WebSocket over TLS (wss://) is not in this build, expected mqtt://"));
}

TEST_CASE("config: admin.listen takes http addresses that no other listener has") {
  const auto admin = [](const std::string& listen) {
    return R"({"workers":{"m":{"listen":"mqtt://1.2.3.4:1883","count":1}},"admin":{"listen":)" + listen + "}}";
  };
  const Loaded two = load_text(admin(R"(["http://127.0.0.1","http://[::1]:99"])"), {"/etc/mm", 1});
  REQUIRE(two.ok());
  REQUIRE(two.config.admin.listen.size() == 2);
  CHECK(two.config.admin.listen[0].port == 9100);
  CHECK(two.config.admin.listen[1].host == "::1");
  CHECK(two.config.admin.listen[1].scheme == Scheme::http);
  CHECK(load_text(admin("[]"), {"/etc/mm", 1}).config.admin.listen.empty());
  CHECK(bad(admin(R"("mqtt://1.2.3.4:9100")")) ==
        R"(admin.listen: found "mqtt://1.2.3.4:9100": mqtt:// is not for this, expected http://)");
  CHECK(bad(admin(R"("https://1.2.3.4:9100")")) ==
        R"(admin.listen: found "https://1.2.3.4:9100": HTTPS (https://) is not in this build, expected http://)");
  CHECK(bad(admin(R"("http://1.2.3.4:1883")")) ==
        R"(admin.listen: found "http://1.2.3.4:1883", which workers.m.listen has already)");
}

TEST_CASE("config: a key whose feature is not in this build is refused") {
  const auto group = [](const std::string& context) {
    return bad(R"({"workers":{"m":{"listen":"mqtt://1.2.3.4","context":{)" + context + "}}}}");
  };
  CHECK(bad(R"({"auth":{"allow_anonymous":false}})") ==
        "auth.allow_anonymous: found false, but authentication is not in this build; expected true");
  CHECK(bad(R"({"auth":{"password_file":"p"}})") ==
        R"(auth.password_file: found "p", but authentication is not in this build; expected no such key)");
  CHECK(group(R"("tls":{"cert":"c"})") ==
        R"(workers.m.context.tls: found {"cert":"c"}, but TLS is not in this build; expected no such key)");
  CHECK(group(R"("proxy_protocol":true)") ==
        "workers.m.context.proxy_protocol: found true, but the PROXY protocol is not in this build; expected false");
}

TEST_CASE("config: without \"redis\" there is no Redis, and an empty one has defaults") {
  const Config alone = good("{}");
  CHECK_FALSE(alone.clustered());
  CHECK(alone.process_count() == 4);
  CHECK_FALSE(alone.is_gateway(4));
  const Config config = good(R"({"redis":{}})");
  CHECK(config.clustered());
  CHECK(config.redis.url == "redis://127.0.0.1:6379/0");
  CHECK(config.redis.prefix == "mqtt-master:");
  CHECK(config.redis.node_id == "node-one");
  CHECK(config.redis.redis_down == RedisDown::refuse);
  CHECK(config.redis.lease == 10);
  CHECK(config.slot_count() == 4);
  CHECK(config.process_count() == 5);
  CHECK(config.is_gateway(4));
  CHECK(slot_name(config, 3) == "mqtt/3");
  CHECK(slot_name(config, 4) == "gateway");
}

TEST_CASE("config: the host's name stands for a missing node id, if it is one") {
  const auto node = [](const std::string& host) {
    return load_text(R"({"redis":{"node_id":""}})", {"/", 1, host}).config.redis.node_id;
  };
  CHECK(node("a_B-9") == "a_B-9");
  CHECK(node("h.example.org") == "h-example-org");
  CHECK(node(std::string(200, 'x')) == std::string(64, 'x'));
  CHECK(load_text(R"({"redis":{}})", {"/", 1, ""}).problems ==
        std::vector<Problem>{{"redis.node_id", "this host has no name, expected one here"}});
}

TEST_CASE("config: all problems are reported, in the file's order") {
  CHECK(bad(R"({"stop_timeout":-1,"mqtt":{"max_inflight":0,"foo":1},"log_level":7})") ==
        "stop_timeout: found -1, expected a number from 0 to 3600\n"
        "mqtt.max_inflight: found 0, expected a whole number from 1 to 65535\n"
        "mqtt.foo: unknown key\n"
        "log_level: found 7, expected one of \"debug\", \"info\", \"warn\", \"error\"");
}

TEST_CASE("config: broken JSON is reported with line and column") {
  CHECK(bad("{\n  \"mqtt\": {,}\n}").starts_with("line 2, column 12: syntax error"));
  CHECK(bad("").starts_with("line 1, column 1: syntax error"));
  CHECK(bad("{\"user\":\"\xff\"}").starts_with("line 1, column 10: syntax error"));
  CHECK(bad("{} x").starts_with("line 1, column 4: syntax error"));
}

TEST_CASE("config: comments are allowed") {
  CHECK(good("// a\n{ /* b */ \"drain_rate\": 3 // c\n}").drain_rate == 3);
}

TEST_CASE("config: bounds that come from several options") {
  CHECK(
      bad(R"({"workers":{"a":{"listen":"mqtt://1.2.3.4:1","count":200},"b":{"listen":"mqtt://1.2.3.4:2","count":200}}})") ==
      "workers: found 400 workers in all, expected at most 256");
  CHECK(bad(R"({"workers":{"a":{"listen":"mqtt://1.2.3.4:1","count":256}}})") == "");
  CHECK(bad(R"({"workers":{"a":{"listen":"mqtt://1.2.3.4:1","count":256}},"redis":{}})") ==
        "workers: found 256 workers in all, expected at most 255");
  CHECK(bad("{\"run_dir\":\"/" + std::string(80, 'r') + "\"}").ends_with("at most 80 bytes (it holds sockets)"));
}

TEST_CASE("config: a report") {
  CHECK(report("w.json", {{"a.b", "found 1"}, {"", "cannot"}}) == "w.json: 2 errors\n  a.b: found 1\n  cannot\n");
  CHECK(report("w.json", {{"a", "b"}}) == "w.json: 1 error\n  a: b\n");
}

TEST_CASE("config: a file that is not there, and a directory") {
  CHECK(load_file("/nowhere.json").problems == std::vector<Problem>{{"", "cannot be read: No such file or directory"}});
  CHECK(load_file("/tmp").problems == std::vector<Problem>{{"", "cannot be read: is a directory"}});
}
