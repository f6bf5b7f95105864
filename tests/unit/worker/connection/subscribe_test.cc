// SUBSCRIBE and UNSUBSCRIBE as far as the client's own state machine answers them. [MQTT5 3.8 - 3.11]
#include <doctest/doctest.h>

#include "tests/support/client_world.h"

namespace connection {
namespace {

using support::ClientWorld;
using support::Lines;
using support::TestClient;
using support::V311;
using support::V5;

struct Connected : ClientWorld {
  TestClient c{*this, V5};
  Connected() {
    c.connect();
    host.calls.clear();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Connected, "subscribe: one reason an entry, in their order") {
  config.max_topic_levels = 3;
  config.max_topic_length = 10;
  c.send("82 [ 0007 [] 'a/b/c' 00 'a/b/c/d' 01 '12345678901' 02 '#' 02 '$share/g/a/b/c' 01 '$share/g/1/2/3/4' 01 ]");
  CHECK(c.received() == Lines{"SUBACK id=7 \"Granted QoS 0\" \"Topic Filter invalid\" \"Topic Filter invalid\" "
                              "\"Granted QoS 2\" \"Granted QoS 1\" \"Topic Filter invalid\""});
}

TEST_CASE_FIXTURE(ClientWorld, "subscribe: MQTT 3.1.1 is told 0x80") {
  config.max_topic_levels = 1;
  TestClient c(*this, V311);
  c.connect();
  c.send("82 [ 0007 'a' 01 'a/b' 01 ]");
  CHECK(c.received_bytes() == TestClient::bytes("90 [ 0007 01 80 ]"));
}

TEST_CASE_FIXTURE(Connected, "subscribe: a filter that is none closes the connection") {
  for (const char* filter : {"'a#'", "'#/a'", "'a+/b'", "''", "'$share/g/'", "'$share/+/a'"}) {
    TestClient other(*this, V5);
    other.connect();
    other.send(std::string("82 [ 0007 [] ") + filter + " 00 ]");
    const Lines answer = other.received();
    CHECK(answer.size() == 1);
    const bool refused = answer.size() == 1 && (answer[0].find("SUBACK id=7 \"Topic Filter invalid\"") == 0 ||
                                                answer[0].find("DISCONNECT \"") == 0);
    CHECK_MESSAGE(refused, filter);
  }
}

TEST_CASE_FIXTURE(Connected, "subscribe: SUBACK comes when the broker says so, other packets are handled meanwhile") {
  host.subscribe_waits = true;
  c.send("82 [ 0007 [] 't' 01 ] c0 00");
  CHECK(c.received() == Lines{"PINGRESP"});
  c.client->subscribe_complete(7, {proto::ReasonCode::granted_qos_1});
  CHECK(c.received() == Lines{"SUBACK id=7 \"Granted QoS 1\""});
}

TEST_CASE_FIXTURE(Connected, "subscribe: an answer after the end goes nowhere") {
  host.subscribe_waits = true;
  c.send("82 [ 0007 [] 't' 01 ]");
  c.client->on_transport_closed();
  c.client->subscribe_complete(7, {proto::ReasonCode::granted_qos_1});
  CHECK(c.received_bytes().empty());
}

TEST_CASE_FIXTURE(Connected, "unsubscribe: the broker's reasons are passed on") {
  host.unsubscribe_reasons = {proto::ReasonCode::success, proto::ReasonCode::no_subscription_existed};
  c.send("a2 [ 0008 [] 'a' 'b' ]");
  CHECK(host.calls == Lines{"unsubscribe a b"});
  CHECK(c.received() == Lines{"UNSUBACK id=8 \"Success\" \"No subscription existed\""});
}

TEST_CASE_FIXTURE(ClientWorld, "unsubscribe: MQTT 3.1.1 gets the packet id alone") {
  TestClient c(*this, V311);
  c.connect();
  c.send("a2 [ 0008 'a' ]");
  CHECK(c.received_bytes() == TestClient::bytes("b0 02 0008"));
}

TEST_CASE_FIXTURE(ClientWorld, "subscribe: an answer that does not fit the client is not sent, the client is closed") {
  TestClient c(*this, V5);
  c.send_connect("27 0000001e");  // maximum packet size 30
  c.received_bytes();
  std::string entries;
  for (int i = 0; i < 40; ++i) entries += " 't' 00";
  c.send("82 [ 0007 []" + entries + " ]");
  CHECK(c.received_bytes().empty());
  CHECK(host.calls.back() ==
        "close_later \"Packet too large\" an answer is larger than the client's maximum packet size");
}

}  // namespace connection
