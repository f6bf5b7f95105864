#include "master/prometheus.h"

#include <doctest/doctest.h>

#include <memory>

using namespace master;

namespace {

bool has(const std::string& text, const std::string& line) {
  return ('\n' + text).find('\n' + line + '\n') != std::string::npos;
}

Status example() {
  Status status;
  status.version = "1.2";
  status.started = 77;
  status.workers = {{"mqtt/0", "mqtt://0.0.0.0:1", "ready", 11, 1536, 3, 40, 5, 2, 1, 7, true, "ok", 99}};
  status.exits = {{"mqtt", "signal 9", 2}};
  status.all_ready = true;
  return status;
}

}  // namespace

TEST_CASE("prometheus: a counter and a gauge of each process, with their help and type") {
  metrics::Page one;
  metrics::Page two;
  metrics::PageRef(&one).add(metrics::Counter::publish_received, 5);
  metrics::PageRef(&two).add(metrics::Counter::publish_received, 7);
  metrics::PageRef(&one).set(metrics::Gauge::sessions, 3);
  metrics::PageRef(&two).set(metrics::Gauge::sessions, 4);
  const std::string text = prometheus_text(
      example(), {{"mqtt/0", metrics::PageRef(&one), true}, {"a\"\\\n/1", metrics::PageRef(&two), false}});
  CHECK(has(text, "# HELP mqtt_master_publish_received_total PUBLISH packets received"));
  CHECK(has(text, "# TYPE mqtt_master_publish_received_total counter"));
  CHECK(has(text, "mqtt_master_publish_received_total{worker=\"mqtt/0\"} 5"));
  CHECK(has(text, "mqtt_master_publish_received_total{worker=\"a\\\"\\\\\\n/1\"} 7"));
  CHECK(has(text, "# TYPE mqtt_master_sessions gauge"));
  CHECK(has(text, "mqtt_master_sessions{worker=\"mqtt/0\"} 3"));
  // Its process has gone, so has what it held; what it did stays done.
  CHECK(has(text, "mqtt_master_sessions{worker=\"a\\\"\\\\\\n/1\"} 0"));
  CHECK(text.find("heartbeat") == std::string::npos);
}

TEST_CASE("prometheus: the host, and the cluster only if there is one") {
  Status status = example();
  std::string text = prometheus_text(status, {});
  CHECK(has(text, "mqtt_master_info{version=\"1.2\"} 1"));
  CHECK(has(text, "mqtt_master_start_time_seconds 77"));
  CHECK(has(text, "mqtt_master_in_service 1"));
  CHECK(has(text, "mqtt_master_worker_resident_bytes{worker=\"mqtt/0\"} 1536"));
  CHECK(has(text, "mqtt_master_worker_exits_total{group=\"mqtt\",status=\"signal 9\"} 2"));
  CHECK(text.find("cluster_fan_out_up") == std::string::npos);

  status.cluster.node_id = "one";
  status.cluster.state = "redis down";
  status.cluster.nodes = {{"one.1", 8250, ""}, {"two.1", 0, "one.1"}};
  text = prometheus_text(status, {});
  CHECK(has(text, "mqtt_master_in_service 0"));
  CHECK(has(text, "mqtt_master_cluster_fan_out_up 0"));
  CHECK(has(text, "mqtt_master_cluster_node_lease_seconds{node=\"one.1\",adopter=\"\"} 8.2"));
  CHECK(has(text, "mqtt_master_cluster_node_lease_seconds{node=\"two.1\",adopter=\"one.1\"} 0.0"));
}

TEST_CASE("status: why it is not in service") {
  Status status = example();
  CHECK(status.not_in_service().empty());
  status.workers[0].state = "starting";
  status.all_ready = false;
  CHECK(status.not_in_service() == "mqtt/0: starting\n");
  status = example();
  status.all_ready = false;
  CHECK(status.not_in_service().empty());  // it is being stopped
  status = example();
  status.cluster.node_id = "one";
  status.cluster.state = "redis down";
  CHECK(status.not_in_service() == "fan-out: redis down\n");
}
