#include "worker/net/tcp_connection.h"

#include "tests/unit/worker/net/tcp_fixture.h"

using metrics::Counter;
using metrics::Gauge;
using net_test::Socket;
using net_test::TcpFixture;

// With its poll handle (some 200 bytes) that is all an idle connection costs here.
static_assert(sizeof(net::TcpConnection) <= 192);

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: bytes come back from an echo") {
  Socket s = connect_one();
  client().echo = true;
  s.send("hello");
  CHECK(until([&] { return s.received() == "hello"; }));
  CHECK(client().flushes == 1);
  CHECK(counter(Counter::bytes_received) == 5);
  CHECK(counter(Counter::bytes_sent) == 5);
  CHECK(gauge(Gauge::connections) == 1);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: the peer's address is known") {
  Socket s = connect_one();
  sockaddr_in own{};
  socklen_t size = sizeof own;
  getsockname(s.fd(), reinterpret_cast<sockaddr*>(&own), &size);
  CHECK(client().transport.peer_address() == "127.0.0.1:" + std::to_string(ntohs(own.sin_port)));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: one read a turn") {
  Socket s = connect_one();
  s.send(std::string(3 * net::ConnectionSet::kReadBuffer, 'x'));
  usleep(20000);
  turn();
  CHECK(client().reads <= 1);
  CHECK(until([&] { return client().received.size() == 3 * net::ConnectionSet::kReadBuffer; }));
  CHECK(client().reads >= 3);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: a slow reader gets everything in order, and holds up nobody") {
  Socket slow = connect_one();
  net_test::FakeClient& slow_client = client();
  std::string sent;
  for (int i = 0; sent.size() < 6'000'000; ++i) sent += std::to_string(i) + ' ';
  slow_client.say(sent);
  turns(5);
  CHECK(gauge(Gauge::send_buffer_bytes) > 0);
  CHECK(slow_client.flushes > 0);

  Socket other = connect_one();
  client().echo = true;
  other.send("ping");
  CHECK(until([&] { return other.received() == "ping"; }));

  std::string received;
  CHECK(until([&] {
    received += slow.receive(500'000);
    return received.size() == sent.size();
  }));
  CHECK((received == sent));
  turns(2);
  CHECK(gauge(Gauge::send_buffer_bytes) == 0);
  CHECK(counter(Counter::bytes_sent) == sent.size() + 4);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: at most one budget is written in a turn") {
  Socket s = connect_one();
  const int large = 16 * 1024 * 1024;
  setsockopt(s.fd(), SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
  for (int i = 0; i < 4096; ++i) client().say(std::string(1024, 'x'));
  connections->flush();
  CHECK(counter(Counter::bytes_sent) <= net::TcpConnection::kWriteBudget + 64 * base::ChunkPool::kChunkSize);
  CHECK(until([&] { return s.received().size() == 4096 * 1024; }));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: close() writes what is left first") {
  Socket s = connect_one();
  std::string last(3'000'000, 'x');
  client().say(last);
  client().transport.close();
  CHECK(until([&] { return s.ended(); }));
  CHECK((s.received() == last));
  CHECK(connections->size() == 1);  // until the client closes too
  s.hang_up();
  CHECK(until([&] { return connections->size() == 0; }));
  CHECK(client().closed == 0);
  CHECK(client().flushes == 0);
  CHECK(gauge(Gauge::connections) == 0);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: the last packet survives that the client goes on sending") {
  Socket s = connect_one();
  s.send(std::string(200'000, 'x'));
  client().say("goodbye");
  client().transport.close();
  for (int i = 0; i < 5; ++i) {
    turn();
    s.send(std::string(1000, 'y'));
  }
  CHECK(until([&] { return s.received() == "goodbye"; }));
  CHECK(!s.reset());
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: close() without anything to say closes in the same turn") {
  Socket s = connect_one();
  client().close_at_bytes = true;
  s.send("x");
  CHECK(until([&] { return connections->size() == 0; }));
  CHECK(until([&] { return s.ended(); }));
  CHECK(client().closed == 0);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: a client that never closes its side is given up") {
  Socket s = connect_one();
  client().say("bye");
  client().transport.close();
  CHECK(until([&] { return connections->size() == 0; }));
  CHECK(s.received() == "bye");
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: one that never takes the last bytes is given up") {
  Socket s = connect_one();
  client().say(std::string(30'000'000, 'x'));
  client().transport.close();
  turns(3);
  CHECK(connections->size() == 1);
  CHECK(until([&] { return connections->size() == 0; }));
  CHECK(gauge(Gauge::send_buffer_bytes) == 0);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: an endless sender is cut off while lingering") {
  Socket s = connect_one();
  client().say("bye");
  client().transport.close();
  fcntl(s.fd(), F_SETFL, O_NONBLOCK);
  const std::string flood(65536, 'x');
  CHECK(until([&] {
    ::send(s.fd(), flood.data(), flood.size(), MSG_NOSIGNAL);
    return connections->size() == 0;
  }));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: the end of the stream is told once") {
  Socket s = connect_one();
  s.send("last");
  s.finish();
  CHECK(until([&] { return client().closed == 1; }));
  CHECK(client().received == "last");
  CHECK(until([&] { return connections->size() == 0; }));
  CHECK(until([&] { return s.ended(); }));
  CHECK(client().closed == 1);
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: a reset is told once") {
  Socket s = connect_one();
  s.send("x");
  CHECK(until([&] { return client().reads == 1; }));
  s.abort();
  CHECK(until([&] { return client().closed == 1; }));
  CHECK(until([&] { return connections->size() == 0; }));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: what came before a reset is still read when writing fails first") {
  Socket s = connect_one();
  s.send("disconnect");
  s.abort();
  usleep(10000);
  client().say("x");
  connections->flush();
  client().say("y");
  connections->flush();
  CHECK(client().closed == 0);
  CHECK(until([&] { return client().closed == 1; }));
  CHECK(client().received == "disconnect");
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: nothing is read while reading is off") {
  Socket s = connect_one();
  client().transport.set_reading(false);
  s.send("later");
  turns(5);
  CHECK(client().received.empty());
  client().transport.set_reading(true);
  CHECK(until([&] { return client().received == "later"; }));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: a reset is noticed while reading is off") {
  Socket s = connect_one();
  client().transport.set_reading(false);
  turn();
  s.abort();
  CHECK(until([&] { return client().closed == 1; }));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: what a client sent before it closed is read when reading goes on") {
  Socket s = connect_one();
  client().transport.set_reading(false);
  s.send("last words");
  s.hang_up();
  turns(5);
  CHECK(client().closed == 0);
  client().transport.set_reading(true);
  CHECK(until([&] { return client().closed == 1; }));
  CHECK(client().received == "last words");
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: pausing with the end of the stream seen does not spin") {
  Socket s = connect_one();
  client().transport.set_reading(false);
  s.finish();
  turns(3);
  const auto start = std::chrono::steady_clock::now();
  turns(10);  // each waits for the fixture's tick of 2 ms
  CHECK(std::chrono::steady_clock::now() - start > std::chrono::milliseconds(10));
}

TEST_CASE_FIXTURE(TcpFixture, "tcp_connection: a client may be closed from another one's callback") {
  Socket first = connect_one();
  net_test::FakeClient& victim = client();
  Socket second = connect_one();
  first.send("x");
  second.send("x");
  usleep(10000);
  victim.say("taken over");
  victim.transport.close();
  CHECK(until([&] { return first.received() == "taken over"; }));
  CHECK(victim.received.empty());
  CHECK(until([&] { return client().received == "x"; }));
}
