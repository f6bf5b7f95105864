#include "worker/broker/sys_topics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "worker/broker/peers.h"
#include "worker/broker/publisher.h"

namespace broker {

using metrics::Counter;
using metrics::Gauge;

SysTopics::SysTopics(Core& core)
    : core_(core),
      timer_(*this),
      started_(core.now()),
      loads_{{{"messages/received", Counter::packets_received},
              {"messages/sent", Counter::packets_sent},
              {"publish/received", Counter::publish_received},
              {"publish/sent", Counter::publish_sent},
              {"bytes/received", Counter::bytes_received},
              {"bytes/sent", Counter::bytes_sent},
              {"sockets", Counter::connections_accepted},
              {"connections", Counter::connects_accepted}}} {}

SysTopics::~SysTopics() = default;

void SysTopics::start() {
  if (core_.mqtt.sys_interval != 0) publish_all();
}

void SysTopics::on_timer(base::TimerNode& node) {
  static_cast<Timer&>(node).owner.publish_all();
}

void SysTopics::publish_all() {
  publish_worker();
  if (speaks_for_host()) publish_host();
  core_.wheel.arm(timer_, core_.now() + uint64_t{core_.mqtt.sys_interval} * 1000);
}

bool SysTopics::speaks_for_host() const {
  for (uint32_t slot = 0; slot < core_.self.slot; ++slot) {
    if (core_.peers->find(slot) != nullptr) return false;
  }
  return true;
}

uint64_t SysTopics::sum(Counter counter) const {
  uint64_t total = 0;
  for (uint32_t slot = 0; slot < core_.homes; ++slot) total += core_.env.page_of(slot).get(counter);
  return total;
}

uint64_t SysTopics::sum(Gauge gauge) const {
  uint64_t total = 0;
  for (uint32_t slot = 0; slot < core_.homes; ++slot) total += core_.env.page_of(slot).get(gauge);
  return total;
}

void SysTopics::set(std::string_view topic, std::string value) {
  std::string& last = published_[std::string(topic)];
  if (last == value) return;
  last = value;
  bus::Message::Fields fields;
  fields.topic = topic;
  fields.payload = value;
  fields.retain = core_.mqtt.retain_available;
  core_.publisher->publish_unwatched(fields);
}

void SysTopics::publish_worker() {
  const std::string prefix = "$SYS/broker/workers/" + config::slot_name(core_.config, core_.self.slot) + "/";
  const metrics::PageRef page = core_.page;
  set(prefix + "incarnation", core_.self.incarnation);
  set(prefix + "clients/connected", page.get(Gauge::clients_connected));
  set(prefix + "sessions", page.get(Gauge::sessions));
  set(prefix + "subscriptions", page.get(Gauge::subscriptions));
  set(prefix + "messages/received", page.get(Counter::packets_received));
  set(prefix + "messages/sent", page.get(Counter::packets_sent));
  set(prefix + "bytes/received", page.get(Counter::bytes_received));
  set(prefix + "bytes/sent", page.get(Counter::bytes_sent));
  set(prefix + "bus/messages/sent", page.get(Counter::bus_messages_sent));
  set(prefix + "bus/messages/received", page.get(Counter::bus_messages_received));
  set(prefix + "retained", page.get(Gauge::retained_messages));
}

void SysTopics::publish_host() {
  const uint64_t connected = sum(Gauge::clients_connected);
  const uint64_t sessions = std::max(sum(Gauge::sessions), connected);
  most_clients_ = std::max(most_clients_, connected);
  set("$SYS/broker/version", std::string("mqtt-master version " MM_VERSION));
  set("$SYS/broker/uptime", std::to_string((core_.now() - started_) / 1000) + " seconds");
  set("$SYS/broker/workers/count", core_.homes);
  set("$SYS/broker/clients/total", sessions);
  set("$SYS/broker/clients/connected", connected);
  set("$SYS/broker/clients/active", connected);
  set("$SYS/broker/clients/disconnected", sessions - connected);
  set("$SYS/broker/clients/inactive", sessions - connected);
  set("$SYS/broker/clients/maximum", most_clients_);
  set("$SYS/broker/clients/expired", sum(Counter::sessions_expired));
  set("$SYS/broker/messages/received", sum(Counter::packets_received));
  set("$SYS/broker/messages/sent", sum(Counter::packets_sent));
  set("$SYS/broker/messages/inflight", sum(Gauge::inflight_messages));
  set("$SYS/broker/messages/stored", sum(Gauge::queued_messages) + sum(Gauge::retained_messages));
  set("$SYS/broker/store/messages/count", sum(Gauge::queued_messages) + sum(Gauge::retained_messages));
  set("$SYS/broker/store/messages/bytes", sum(Gauge::queued_bytes) + sum(Gauge::retained_bytes));
  set("$SYS/broker/publish/messages/received", sum(Counter::publish_received));
  set("$SYS/broker/publish/messages/sent", sum(Counter::publish_sent));
  set("$SYS/broker/publish/messages/dropped",
      sum(Counter::publish_dropped_slow) + sum(Counter::publish_dropped_queue) + sum(Counter::publish_dropped_expired) +
          sum(Counter::publish_dropped_size) + sum(Counter::publish_dropped_bus));
  set("$SYS/broker/publish/bytes/received", sum(Counter::publish_received_bytes));
  set("$SYS/broker/publish/bytes/sent", sum(Counter::publish_sent_bytes));
  set("$SYS/broker/bytes/received", sum(Counter::bytes_received));
  set("$SYS/broker/bytes/sent", sum(Counter::bytes_sent));
  set("$SYS/broker/subscriptions/count", sum(Gauge::subscriptions));
  set("$SYS/broker/shared_subscriptions/count", sum(Gauge::shared_subscriptions));
  set("$SYS/broker/retained messages/count", sum(Gauge::retained_messages));
  publish_loads();
}

void SysTopics::publish_loads() {
  static constexpr std::array<double, 3> kMinutes{1, 5, 15};
  static constexpr std::array<std::string_view, 3> kNames{"1min", "5min", "15min"};
  const double interval = core_.mqtt.sys_interval;
  for (Load& load : loads_) {
    const uint64_t now = sum(load.counter);
    const double rate = loads_begun_ ? static_cast<double>(now - load.last) * 60.0 / interval : 0;
    load.last = now;
    for (size_t i = 0; i < kMinutes.size(); ++i) {
      const double keep = std::exp(-interval / (60.0 * kMinutes[i]));
      load.average[i] = rate + (load.average[i] - rate) * keep;
      char value[32];
      std::snprintf(value, sizeof value, "%.2f", load.average[i]);
      set("$SYS/broker/load/" + std::string(load.name) + "/" + std::string(kNames[i]), std::string(value));
    }
  }
  loads_begun_ = true;
}

}  // namespace broker
