// How a connection ends, and what that means for its session and its will. [MQTT5 3.14, 4.13]
#include <doctest/doctest.h>

#include "tests/support/client_world.h"

namespace connection {
namespace {

using metrics::Counter;
using proto::ReasonCode;
using support::ClientWorld;
using support::Lines;
using support::TestClient;
using support::V31;
using support::V311;
using support::V5;

}  // namespace

TEST_CASE_FIXTURE(ClientWorld, "disconnect: which DISCONNECT discards the will") {
  struct Row {
    proto::ProtocolVersion version;
    const char* bytes;
    const char* ending;
  };
  const Row rows[] = {
      {V31, "e0 00", "closed clean"},        {V311, "e0 00", "closed clean"},
      {V5, "e0 00", "closed clean"},         {V5, "e0 [ 00 [] ]", "closed clean"},
      {V5, "e0 [ 04 ]", "closed with will"}, {V5, "e0 [ 80 [] ]", "closed with will"},
  };
  for (const Row& row : rows) {
    TestClient c(*this, row.version);
    c.connect();
    c.send(row.bytes);
    CHECK_MESSAGE(host.calls.back() == row.ending, row.bytes);
    CHECK(c.closed);
    CHECK(c.received_bytes().empty());
  }
  CHECK(count(Counter::disconnects_clean) == std::size(rows));
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: what follows it is not handled") {
  TestClient c(*this, V311);
  c.connect();
  c.send("e0 00 30 [ 't' ] c0 00");
  c.send("30 [ 't' ]");
  CHECK(host.calls == Lines{"claim c clean expiry=0", "closed clean"});
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: the end of the stream without it fires the will") {
  TestClient c(*this, V311);
  c.connect();
  c.client->on_transport_closed();
  CHECK(host.calls.back() == "closed with will");
  CHECK_FALSE(c.closed);  // the transport is not touched again
  CHECK(count(Counter::disconnects_unclean) == 1);
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: a malformed one is an error") {
  TestClient c(*this, V311);
  c.connect();
  c.send("e1 00");
  CHECK(host.calls.back() == "closed with will");
  TestClient v5(*this, V5);
  v5.connect();
  v5.send("e0 [ 01 ]");  // no reason code of DISCONNECT
  CHECK(host.calls.back() == "closed with will");
  CHECK(count(Counter::protocol_errors) == 2);
}

// --- session expiry in DISCONNECT [MQTT5 3.14.2.2.2] ---

TEST_CASE_FIXTURE(ClientWorld, "disconnect: it may change the session expiry, if CONNECT set one") {
  struct Row {
    const char* connect;
    const char* disconnect;
    uint32_t expiry;
    const char* ending;
  };
  const Row rows[] = {
      {"11 00000064", "e0 00", 100, "closed clean"},
      {"11 00000064", "e0 [ 00 [ 11 00000000 ] ]", 0, "closed clean"},
      {"11 00000064", "e0 [ 00 [ 11 00000065 ] ]", 101, "closed clean"},
      {"11 00000064", "e0 [ 04 [ 11 ffffffff ] ]", 1000, "closed with will"},  // bounded by session_expiry_max
      {"", "e0 [ 00 [ 11 00000000 ] ]", 0, "closed clean"},
      {"", "e0 [ 00 [ 11 00000001 ] ]", 0, "closed with will"},  // a protocol error
      {"11 00000000", "e0 [ 00 [ 11 00000001 ] ]", 0, "closed with will"},
  };
  config.session_expiry_max = 1000;
  for (const Row& row : rows) {
    TestClient c(*this, V5);
    c.connect(row.connect);
    c.send(row.disconnect);
    CHECK_MESSAGE(host.session->expiry_interval == row.expiry, row.connect << ", " << row.disconnect);
    CHECK(host.calls.back() == row.ending);
  }
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: an expiry that the broker cut to 0 was not 0 in CONNECT") {
  config.session_expiry_max = 0;
  TestClient c(*this, V5);
  c.connect("11 00000064");
  c.send("e0 [ 00 [ 11 00000064 ] ]");
  CHECK(host.calls.back() == "closed clean");
  CHECK(host.session->expiry_interval == 0);
}

// --- from the broker ---

TEST_CASE_FIXTURE(ClientWorld, "disconnect: taken over, MQTT 5 is told, and the will is not due") {
  TestClient c(*this, V5);
  c.connect();
  c.client->on_taken_over();
  CHECK(c.received() ==
        Lines{"DISCONNECT \"Session taken over\" {reason string=\"another connection uses this client id\"}"});
  CHECK(host.calls.back() == "closed taken over");
  TestClient old(*this, V311);
  old.connect();
  old.client->on_taken_over();
  CHECK(old.received_bytes().empty());
  CHECK(old.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: the broker says why it closes") {
  TestClient c(*this, V5);
  c.connect();
  c.client->close(ReasonCode::server_shutting_down, "going");
  CHECK(c.received() == Lines{"DISCONNECT \"Server shutting down\" {reason string=\"going\"}"});
  CHECK(host.calls.back() == "closed with will");
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: no reason string for a client that wants none, or has no room for it") {
  TestClient quiet(*this, V5);
  quiet.connect("17 00");
  quiet.client->close(ReasonCode::server_shutting_down, "going");
  CHECK(quiet.received() == Lines{"DISCONNECT \"Server shutting down\""});
  config.receive_maximum = 65535;
  config.topic_alias_max = 0;
  TestClient small(*this, V5);
  small.connect("27 00000006");
  small.client->close(ReasonCode::server_shutting_down, "going");
  CHECK(small.received() == Lines{"DISCONNECT \"Server shutting down\""});
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: before CONNECT is answered the broker closes without a word") {
  host.claim_waits = true;
  TestClient c(*this, V5);
  c.send_connect();
  c.client->close(ReasonCode::server_shutting_down, "going");
  CHECK(c.received_bytes().empty());
  CHECK(c.closed);
}

TEST_CASE_FIXTURE(ClientWorld, "disconnect: a connection ends once, whatever comes after") {
  TestClient c(*this, V5);
  c.connect();
  c.client->close(ReasonCode::server_busy, "");
  c.received();
  c.client->close(ReasonCode::server_busy, "");
  c.client->on_taken_over();
  c.client->on_superseded();
  c.client->on_refused(ReasonCode::banned);
  c.client->resume();
  c.client->on_flushed();
  c.client->on_transport_closed();
  advance(1'000'000);
  CHECK(c.received_bytes().empty());
  CHECK(host.calls == Lines{"claim c clean expiry=0", "closed with will"});
}

}  // namespace connection
