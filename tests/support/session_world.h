// What a session needs around it, and an outlet that writes down what it is told to send.
#pragma once

#include <string>

#include "shared/config/config.h"
#include "tests/support/lines.h"
#include "tests/support/manual_clock.h"
#include "tests/support/messages.h"
#include "worker/session/session.h"

namespace support {

// "hi qos=1 id=1", "hi qos=1 id=1 dup", "PUBREL 1", "full", "taken over".
class RecordingOutlet final : public session::Outlet {
 public:
  Lines lines;
  size_t waiting = 0;       // backlog()
  uint16_t window = 65535;  // receive_maximum()
  size_t largest = 1000;    // payload that fits the client

  size_t backlog() const override { return waiting; }
  uint16_t receive_maximum() const override { return window; }
  Sent send_publish(const session::Delivery& delivery, uint16_t packet_id, bool dup) override;
  Sent send_unkept(const bus::Message::Fields& message, uint32_t subscription) override;
  void send_pubrel(uint16_t packet_id) override { lines.push_back("PUBREL " + std::to_string(packet_id)); }
  void on_queue_full() override { lines.push_back("full"); }
  void on_taken_over() override { lines.push_back("taken over"); }
};

struct SessionWorld {
  config::Mqtt config;
  ManualClock clock;
  metrics::Page page{};
  session::Shared shared{&config, &clock, metrics::PageRef(&page)};
  RecordingOutlet outlet;

  uint64_t count(metrics::Counter counter) const { return shared.page.get(counter); }
  uint64_t count(metrics::Gauge gauge) const { return shared.page.get(gauge); }
};

// A durable session in such a world, connected from the start.
struct SessionFixture : SessionWorld {
  session::Session session{shared, "c", 0};

  SessionFixture() {
    session.expiry_interval = 100;
    session.attach(outlet);
  }
  void deliver(std::string_view payload, int qos) { session.deliver(delivery(payload, qos)); }
  Lines sent() { return take(outlet.lines); }
  // The connection ends and another begins.
  Lines reconnect() {
    session.detach();
    session.attach(outlet);
    return sent();
  }
};

}  // namespace support
