// What happens when nothing comes. [MQTT5 3.1.2.10]
#include <doctest/doctest.h>

#include "tests/support/client_world.h"

namespace connection {
namespace {

using metrics::Counter;
using support::ClientWorld;
using support::Lines;
using support::TestClient;
using support::V311;
using support::V5;

constexpr base::MonoMs kTick = base::TimerWheel::kTickMs;

}  // namespace

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: one and a half times it, never earlier, at most a tick later") {
  for (const uint16_t seconds : std::vector<uint16_t>{1, 2, 3, 10, 59, 600, 65535}) {
    TestClient c(*this, V5);
    c.connect("", "02", seconds);
    advance(seconds * 1500u - 1);
    CHECK_FALSE(c.closed);
    advance(1 + kTick);
    CHECK(c.received() == Lines{"DISCONNECT \"Keep Alive timeout\" {reason string=\"keep-alive timeout\"}"});
    CHECK(c.closed);
  }
  CHECK(count(Counter::keep_alive_timeouts) == 7);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: the will fires") {
  TestClient c(*this, V311);
  c.connect("", "02", 1);
  advance(1500 + kTick);
  CHECK(host.calls.back() == "closed with will");
  CHECK(c.received_bytes().empty());
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: every packet counts, to the millisecond") {
  for (const char* packet : {"c0 00", "30 [ 't' [] ]", "40 [ 0007 ]", "82 [ 0001 [] 't' 00 ]"}) {
    TestClient c(*this, V5);
    c.connect("", "02", 10);
    advance(14'999);
    c.send(packet);
    advance(14'999);
    CHECK_FALSE(c.closed);
    advance(1 + kTick);
    CHECK(c.closed);
  }
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: a few bytes of a packet are not a packet") {
  TestClient c(*this, V311);
  c.connect("", "02", 10);
  c.send("30 40");
  advance(14'000);
  c.send("00");
  advance(1'000 + kTick);
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: a large packet that makes progress keeps its client alive") {
  TestClient c(*this, V311);
  c.connect("", "02", 1);
  c.send("30 80 80 40");
  for (int i = 0; i < 10; ++i) {
    advance(1'000);
    c.send_bytes(std::string(1000, '\0'));
  }
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: 0 is none") {
  TestClient c(*this, V311);
  c.connect("", "02", 0);
  advance(100'000'000);
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: the server's one holds if it gave one") {
  config.max_keepalive = 10;
  TestClient c(*this, V5);
  c.connect("", "02", 0);
  advance(14'999);
  CHECK_FALSE(c.closed);
  advance(1 + kTick);
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: it stands still while the broker does not read") {
  TestClient c(*this, V311);
  c.connect("", "02", 1);
  c.client->pause();
  for (int i = 0; i < 100; ++i) advance(1'000);
  CHECK_FALSE(c.closed);
  c.client->resume();
  advance(1'499);
  CHECK_FALSE(c.closed);
  advance(1 + kTick);
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: a connection without a CONNECT lives as long as connect_timeout says") {
  config.connect_timeout = 3;
  TestClient silent(*this, V311);
  TestClient slow(*this, V311);
  for (int i = 0; i < 29; ++i) {
    advance(100);
    slow.send_bytes(TestClient::bytes("10 [ 'MQTT' 04 02 0000 {61*100} ]").substr(static_cast<size_t>(i), 1));
  }
  advance(99);
  CHECK_FALSE(silent.closed);
  advance(1 + kTick);
  CHECK(silent.closed);
  CHECK(slow.closed);
  CHECK(slow.received_bytes().empty());
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: a connect_timeout of 0 waits for ever") {
  config.connect_timeout = 0;
  TestClient c(*this, V311);
  advance(100'000'000);
  CHECK_FALSE(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "keep-alive: connect_timeout ends with CONNECT") {
  config.connect_timeout = 1;
  TestClient c(*this, V311);
  c.connect("", "02", 0);
  advance(10'000);
  CHECK_FALSE(c.closed);
}

}  // namespace connection
