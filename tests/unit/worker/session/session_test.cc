#include "worker/session/session.h"

#include <doctest/doctest.h>

#include "tests/support/session_world.h"

namespace session {
namespace {

using metrics::Counter;
using metrics::Gauge;
using support::delivery;
using support::Lines;
using support::SessionFixture;
using support::SessionWorld;
using support::shared_delivery;

using Ids = std::vector<uint16_t>;

// What one queued message of a two-letter payload costs.
const size_t kCost = support::message({.payload = "m1"})->footprint();

}  // namespace

// --- to a connected client ---

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 0 goes out at once, without a packet id") {
  deliver("m1", 0);
  CHECK(sent() == Lines{"m1 qos=0"});
  CHECK(session.inflight().empty());
}

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 0 without a message of its own has the same limits") {
  bus::Message::Fields message;
  message.topic = "t";
  message.payload = "hi";
  message.expires_at = clock.now_ms() + 1;
  CHECK(session.deliver_unkept(message, 7) == session::Session::Result::accepted);
  clock.advance(1);
  CHECK(session.deliver_unkept(message, 0) == session::Session::Result::dropped);
  CHECK(count(metrics::Counter::publish_dropped_expired) == 1);
  message.expires_at = 0;
  outlet.largest = 1;
  CHECK(session.deliver_unkept(message, 0) == session::Session::Result::dropped);
  CHECK(count(metrics::Counter::publish_dropped_size) == 1);
  outlet.waiting = config.max_queued_bytes + 1;
  CHECK(session.deliver_unkept(message, 0) == session::Session::Result::dropped_full);
  CHECK(count(metrics::Counter::publish_dropped_slow) == 1);
  session.detach();
  CHECK(session.deliver_unkept(message, 0) == session::Session::Result::dropped);
  CHECK(sent() == Lines{"hi subscription=7"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 1 is in flight until its PUBACK") {
  deliver("m1", 1);
  CHECK(sent() == Lines{"m1 qos=1 id=1"});
  CHECK(count(Gauge::inflight_messages) == 1);
  CHECK(session.on_puback(1));
  CHECK(session.inflight().empty());
  CHECK(count(Gauge::inflight_messages) == 0);
}

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 2 is in flight until its PUBCOMP, its message until its PUBREC") {
  const bus::MessageRef message = support::message({.payload = "m1"});
  session.deliver(delivery(message, 2));
  CHECK(session.on_pubrec(1, false));
  CHECK_FALSE(session.inflight().find(1)->delivery.message);
  CHECK(session.on_pubcomp(1));
  CHECK(sent() == Lines{"m1 qos=2 id=1", "PUBREL 1"});
  CHECK(count(Gauge::inflight_messages) == 0);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a second PUBREC gets a second PUBREL") {
  deliver("m1", 2);
  session.on_pubrec(1, false);
  CHECK(session.on_pubrec(1, false));
  CHECK(sent() == Lines{"m1 qos=2 id=1", "PUBREL 1", "PUBREL 1"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: a PUBREC with an error ends the flow") {
  deliver("m1", 2);
  CHECK(session.on_pubrec(1, true));
  CHECK(session.inflight().empty());
  CHECK(sent() == Lines{"m1 qos=2 id=1"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: an acknowledgement must fit the flow of its packet id") {
  deliver("one", 1);
  deliver("two", 2);
  CHECK_FALSE(session.on_puback(2));
  CHECK_FALSE(session.on_puback(3));
  CHECK_FALSE(session.on_pubrec(1, false));
  CHECK_FALSE(session.on_pubrec(1, true));
  CHECK_FALSE(session.on_pubcomp(1));
  CHECK_FALSE(session.on_pubcomp(2));  // no PUBREC yet
  CHECK(session.inflight().size() == 2);
}

TEST_CASE_FIXTURE(SessionFixture, "session: what is over the window waits, and leaves in order") {
  config.max_inflight = 2;
  for (const char* payload : {"m1", "m2", "m3", "m4"}) deliver(payload, 1);
  CHECK(sent() == Lines{"m1 qos=1 id=1", "m2 qos=1 id=2"});
  CHECK(count(Gauge::queued_messages) == 2);
  CHECK(count(Gauge::queued_bytes) == 2 * kCost);
  session.on_puback(2);
  session.on_puback(1);
  CHECK(sent() == Lines{"m3 qos=1 id=3", "m4 qos=1 id=4"});
  CHECK(session.queued_bytes() == 0);
}

TEST_CASE_FIXTURE(SessionFixture, "session: the window is the smaller one of the client's and the configuration's") {
  struct Row {
    uint16_t client, configured;
    size_t expected;
  };
  for (const Row& row : {Row{1, 20, 1}, Row{20, 3, 3}, Row{65535, 5, 5}}) {
    SessionFixture fixture;
    fixture.outlet.window = row.client;
    fixture.config.max_inflight = row.configured;
    for (int i = 0; i < 30; ++i) fixture.deliver("m", 1);
    CHECK(fixture.session.inflight().size() == row.expected);
  }
}

TEST_CASE_FIXTURE(SessionFixture, "session: a QoS 2 message takes its place in the window until PUBCOMP") {
  config.max_inflight = 1;
  deliver("m1", 2);
  deliver("m2", 2);
  session.on_pubrec(1, false);
  CHECK(sent() == Lines{"m1 qos=2 id=1", "PUBREL 1"});
  session.on_pubcomp(1);
  CHECK(sent() == Lines{"m2 qos=2 id=2"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 0 does not wait for the window") {
  config.max_inflight = 1;
  deliver("m1", 1);
  deliver("m2", 1);
  deliver("m3", 0);
  CHECK(sent() == Lines{"m1 qos=1 id=1", "m3 qos=0"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: while the socket is full QoS 1 waits, until pump() finds room") {
  outlet.waiting = 2 << 20;
  deliver("m1", 1);
  session.pump();
  CHECK(sent().empty());
  outlet.waiting = 0;
  session.pump();
  CHECK(sent() == Lines{"m1 qos=1 id=1"});
}

TEST_CASE_FIXTURE(SessionFixture,
                  "session: what does not fit the client is dropped as if delivered, the rest goes on") {
  outlet.largest = 5;
  config.max_inflight = 1;
  for (const char* payload : {"m1", "too long", "m3"}) deliver(payload, 1);
  deliver("too long", 0);
  session.on_puback(1);
  CHECK(sent() == Lines{"m1 qos=1 id=1", "m3 qos=1 id=3"});
  CHECK(count(Counter::publish_dropped_size) == 2);
  CHECK(count(Gauge::inflight_messages) == 1);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a message that expired in the queue is not sent") {
  config.max_inflight = 1;
  deliver("m1", 1);
  session.deliver(delivery(support::message({.payload = "m2", .expires_at = clock.now_ms() + 1000}), 1));
  deliver("m3", 1);
  clock.advance(1000);
  session.on_puback(1);
  CHECK(sent() == Lines{"m1 qos=1 id=1", "m3 qos=1 id=2"});
  CHECK(count(Counter::publish_dropped_expired) == 1);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a message that has expired on its way here is not sent, whatever its QoS") {
  for (const int qos : {0, 1, 2}) {
    session.deliver(delivery(support::message({.expires_at = clock.now_ms()}), qos));
  }
  CHECK(sent().empty());
  CHECK(count(Counter::publish_dropped_expired) == 3);
}

// --- bounds ---

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 0 to a client that reads too slowly is dropped and counted") {
  config.max_queued_bytes = 1000;
  outlet.waiting = 1001;
  CHECK(session.deliver(delivery("m1", 0)) == Session::Result::dropped_full);
  CHECK(sent().empty());
  CHECK(count(Counter::publish_dropped_slow) == 1);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a full queue does with a new message what the policy says") {
  struct Row {
    config::QueueFull policy;
    Session::Result result;
    Lines queue, told;
  };
  const Row rows[] = {
      {config::QueueFull::drop_new, Session::Result::dropped_full, {"m1", "m2"}, {}},
      {config::QueueFull::drop_old, Session::Result::accepted, {"m2", "m3"}, {}},
      {config::QueueFull::disconnect, Session::Result::dropped_full, {"m1", "m2"}, {"full"}},
  };
  for (const bool by_bytes : {false, true}) {
    for (const Row& row : rows) {
      SessionFixture fixture;
      fixture.outlet.waiting = 2 << 20;
      fixture.config.queue_full = row.policy;
      if (by_bytes) fixture.config.max_queued_bytes = 2 * kCost;
      if (!by_bytes) fixture.config.max_queued_messages = 2;
      fixture.deliver("m1", 1);
      fixture.deliver("m2", 1);
      CHECK(fixture.session.deliver(delivery("m3", 1)) == row.result);
      Lines queue;
      for (size_t i = 0; i < fixture.session.queue().size(); ++i) {
        queue.emplace_back(fixture.session.queue()[i].message->payload());
      }
      CHECK(queue == row.queue);
      CHECK(fixture.sent() == row.told);
      CHECK(fixture.count(Counter::publish_dropped_queue) == 1);
      CHECK(fixture.session.queued_bytes() == 2 * kCost);
    }
  }
}

TEST_CASE_FIXTURE(SessionFixture, "session: QoS 0 to a slow client disconnects it if that is the policy") {
  config.max_queued_bytes = 1000;
  config.queue_full = config::QueueFull::disconnect;
  outlet.waiting = 1001;
  deliver("m1", 0);
  CHECK(sent() == Lines{"full"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: a message larger than the whole queue drops itself alone") {
  config.queue_full = config::QueueFull::drop_old;
  config.max_queued_bytes = 2 * kCost;
  outlet.waiting = 2 << 20;
  deliver("m1", 1);
  CHECK(session.deliver(delivery(std::string(1000, 'x'), 1)) == Session::Result::dropped_full);
  CHECK(session.queue().size() == 1);
  CHECK(count(Counter::publish_dropped_queue) == 1);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a queue of bounded bytes takes any number of messages") {
  config.max_queued_messages = 0;
  session.detach();
  for (int i = 0; i < 10000; ++i) deliver("m1", 1);
  CHECK(session.queue().size() == 10000);
  CHECK(session.queued_bytes() == 10000 * kCost);
}

// --- offline and back ---

TEST_CASE_FIXTURE(SessionFixture, "session: offline, a durable session keeps QoS 1 and 2, not QoS 0") {
  session.detach();
  CHECK(session.deliver(delivery("m1", 0)) == Session::Result::dropped);
  CHECK(session.deliver(delivery("m2", 1)) == Session::Result::accepted);
  CHECK(session.deliver(delivery("m3", 2)) == Session::Result::accepted);
  session.attach(outlet);
  CHECK(sent() == Lines{"m2 qos=1 id=1", "m3 qos=2 id=2"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: offline, one that ends with its connection keeps nothing") {
  session.expiry_interval = 0;
  session.detach();
  CHECK(session.deliver(delivery("m1", 1)) == Session::Result::dropped);
  CHECK(session.queue().empty());
}

TEST_CASE_FIXTURE(SessionFixture, "session: back, what was in flight comes again in order, then what waits") {
  config.max_inflight = 4;
  for (const char* payload : {"m1", "m2"}) deliver(payload, 1);
  for (const char* payload : {"m3", "m4"}) deliver(payload, 2);
  deliver("m5", 1);
  session.on_pubrec(3, false);
  session.on_puback(1);
  sent();
  CHECK(reconnect() == Lines{"PUBREL 3", "m2 qos=1 id=2 dup", "m4 qos=2 id=4 dup", "m5 qos=1 id=5 dup"});
}

TEST_CASE_FIXTURE(SessionFixture,
                  "session: back with a smaller window, no more than it is sent before acknowledgements") {
  for (const char* payload : {"m1", "m2", "m3"}) deliver(payload, 1);
  sent();
  outlet.window = 1;
  session.detach();
  deliver("m4", 1);
  session.attach(outlet);
  CHECK(sent() == Lines{"m1 qos=1 id=1 dup"});
  for (const uint16_t id : Ids{1, 2, 3}) session.on_puback(id);
  CHECK(sent() == Lines{"m2 qos=1 id=2 dup", "m3 qos=1 id=3 dup", "m4 qos=1 id=4"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: back with a smaller window, every PUBREL is sent again at once") {
  for (const char* payload : {"m1", "m2", "m3"}) deliver(payload, 2);
  for (const uint16_t id : Ids{1, 2}) session.on_pubrec(id, false);
  sent();
  outlet.window = 1;
  CHECK(reconnect() == Lines{"PUBREL 1", "PUBREL 2"});
  for (const uint16_t id : Ids{1, 2}) session.on_pubcomp(id);
  CHECK(sent() == Lines{"m3 qos=2 id=3 dup"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: lost again before all was sent again, the rest comes the next time") {
  for (const char* payload : {"m1", "m2", "m3"}) deliver(payload, 1);
  sent();
  outlet.window = 1;
  CHECK(reconnect() == Lines{"m1 qos=1 id=1 dup"});
  outlet.window = 3;
  CHECK(reconnect() == Lines{"m1 qos=1 id=1 dup", "m2 qos=1 id=2 dup", "m3 qos=1 id=3 dup"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: back with a smaller maximum packet size, what no longer fits is given up") {
  deliver("long enough", 1);
  deliver("m2", 1);
  sent();
  outlet.largest = 5;
  CHECK(reconnect() == Lines{"m2 qos=1 id=2 dup"});
  CHECK(session.inflight().size() == 1);
  CHECK(count(Counter::publish_dropped_size) == 1);
  CHECK(count(Gauge::inflight_messages) == 1);
}

TEST_CASE_FIXTURE(SessionFixture, "session: a message that expired in flight is sent again: its delivery had begun") {
  session.deliver(delivery(support::message({.payload = "m1", .expires_at = clock.now_ms() + 1000}), 1));
  sent();
  clock.advance(2000);
  CHECK(reconnect() == Lines{"m1 qos=1 id=1 dup"});
}

TEST_CASE_FIXTURE(SessionFixture, "session: cleared or destroyed, the gauges are back where they were") {
  config.max_inflight = 1;
  for (int i = 0; i < 3; ++i) deliver("m1", 1);
  session.clear_messages();
  for (const Gauge gauge : {Gauge::inflight_messages, Gauge::queued_messages, Gauge::queued_bytes}) {
    CHECK(count(gauge) == 0);
  }
  {
    Session other(shared, "other", 1);
    other.expiry_interval = 1;
    other.deliver(delivery("m1", 1));
    CHECK(count(Gauge::queued_messages) == 1);
  }
  CHECK(count(Gauge::queued_messages) == 0);
}

// --- shared groups ---

TEST_CASE_FIXTURE(SessionFixture, "session: while connected, take_shared leaves what is in flight to its flow") {
  session.deliver(shared_delivery("g1", 1, "g"));
  CHECK(session.take_shared([](const GroupName&) { return true; }).empty());
  CHECK(session.on_puback(1));
}

TEST_CASE_FIXTURE(SessionFixture, "session: take_shared takes QoS 1 in flight and what waits, of its group alone") {
  config.max_inflight = 4;
  session.deliver(shared_delivery("g1", 1, "g"));
  session.deliver(shared_delivery("g2", 2, "g"));
  session.deliver(shared_delivery("h1", 1, "h"));
  session.deliver(delivery("m1", 1));
  session.deliver(shared_delivery("g3", 1, "g"));
  session.deliver(shared_delivery("g4", 2, "g"));
  session.deliver(delivery("m2", 1));
  session.detach();
  Lines taken;
  for (const Delivery& one : session.take_shared([](const GroupName& group) { return group.name == "g"; })) {
    taken.emplace_back(one.message->payload());
  }
  CHECK(taken == Lines{"g1", "g3", "g4"});
  CHECK(session.inflight().size() == 3);
  CHECK(session.queue().size() == 1);
  CHECK(session.queued_bytes() == kCost);
  CHECK(count(Gauge::inflight_messages) == 3);
}

TEST_CASE_FIXTURE(SessionFixture, "session: the PUBACK of a message that was taken away is of no known packet") {
  session.deliver(shared_delivery("g1", 1, "g"));
  session.detach();
  session.take_shared([](const GroupName&) { return true; });
  CHECK_FALSE(session.on_puback(1));
}

TEST_CASE_FIXTURE(SessionFixture, "session: take_shared leaves a PUBREL where it is") {
  session.deliver(shared_delivery("g1", 2, "g"));
  session.on_pubrec(1, false);
  CHECK(session.take_shared([](const GroupName&) { return true; }).empty());
  CHECK(session.on_pubcomp(1));
}

// --- incoming QoS 2 ---

TEST_CASE("session: incoming QoS 2 packet ids are a set") {
  SessionWorld world;
  Session session(world.shared, "c", 0);
  for (const uint16_t id : Ids{5, 1, 65535, 5}) session.add_incoming(id);
  CHECK(session.incoming_qos2 == std::vector<uint16_t>{1, 5, 65535});
  CHECK(session.remove_incoming(5));
  CHECK_FALSE(session.remove_incoming(5));
  CHECK_FALSE(session.has_incoming(5));
  CHECK(session.has_incoming(65535));
}

TEST_CASE("session: subscription identifiers of one delivery are kept in order, 0 is none") {
  SubscriptionIds ids;
  ids.add(0);
  CHECK(ids.empty());
  for (const uint32_t id : {7u, 0u, 3u, 7u}) ids.add(id);
  CHECK(std::vector<uint32_t>(ids.data(), ids.data() + ids.size()) == std::vector<uint32_t>{7, 3, 7});
}

}  // namespace session
