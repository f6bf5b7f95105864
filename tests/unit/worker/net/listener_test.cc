#include "worker/net/listener.h"

#include <netinet/tcp.h>
#include <sys/resource.h>

#include "tests/unit/worker/net/tcp_fixture.h"

using metrics::Counter;
using metrics::Gauge;
using net_test::Socket;
using net_test::TcpFixture;

TEST_CASE_FIXTURE(TcpFixture, "listener: many connections in few turns") {
  std::vector<Socket> sockets;
  for (int i = 0; i < 100; ++i) sockets.push_back(dial());
  turn();
  CHECK(clients.size() <= net::Listener::kAcceptsPerTurn);
  CHECK(until([&] { return clients.size() == 100; }));
  CHECK(gauge(Gauge::connections) == 100);
}

TEST_CASE_FIXTURE(TcpFixture, "listener: accepted sockets inherit TCP_NODELAY, are non-blocking and close on exec") {
  const size_t before = net_test::open_descriptors();
  Socket s = connect_one();
  CHECK(net_test::open_descriptors() == before + 2);
  int nodelay = 0;
  socklen_t size = sizeof nodelay;
  const int fd = s.fd() + 1;  // descriptors are given out in order
  REQUIRE(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size) == 0);
  CHECK(nodelay != 0);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE_FIXTURE(TcpFixture, "listener: over max_connections a connection is closed at once") {
  quota.limit = 2;
  Socket a = connect_one();
  Socket b = connect_one();
  Socket c = dial();
  CHECK(until([&] { return c.ended(); }));
  CHECK(clients.size() == 2);
  CHECK(counter(Counter::connections_refused_limit) == 1);
  a.hang_up();
  CHECK(until([&] { return connections->size() == 1; }));
  Socket d = connect_one();
  CHECK(clients.size() == 3);
}

TEST_CASE_FIXTURE(TcpFixture, "listener: out of descriptors it pauses, and goes on when there are some") {
  Socket waiting = dial();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{static_cast<rlim_t>(waiting.fd()) + 1, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  turns(5);
  const auto start = std::chrono::steady_clock::now();
  turns(10);
  const auto took = std::chrono::steady_clock::now() - start;
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK(clients.empty());
  CHECK(took > std::chrono::milliseconds(10));  // it does not spin
  CHECK(until([&] { return clients.size() == 1; }));
}

TEST_CASE_FIXTURE(TcpFixture, "listener: the last descriptors are not for clients") {
  std::vector<Socket> sockets;
  for (int i = 0; i < 40; ++i) sockets.push_back(dial());
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{static_cast<rlim_t>(sockets.back().fd() + 40), before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  listener->stop();
  net::Listener second(context(), listener_socket(), "second", quota, *connections);
  setrlimit(RLIMIT_NOFILE, &before);
  second.start();
  CHECK(until([&] { return clients.size() + counter(Counter::connections_refused_limit) == 40; }));
  CHECK(clients.size() > 5);
  CHECK(clients.size() < 25);
}

TEST_CASE_FIXTURE(TcpFixture, "listener: stopped it leaves handshakes in the kernel's queue") {
  listener->stop();
  Socket s = dial();
  turns(5);
  CHECK(clients.empty());
  listener->start();
  CHECK(until([&] { return clients.size() == 1; }));
}

TEST_CASE_FIXTURE(TcpFixture, "listener: a client that nobody wants is closed") {
  connections = std::make_unique<net::ConnectionSet>(context(), [](connection::ClientTransport&) { return nullptr; });
  // The listener of the fixture serves the set it was made for, so this one is fed by hand.
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  Socket far{base::UniqueFd(pair[1])};
  connections->add(base::UniqueFd(pair[0]), net::SocketAddress(), quota);
  turn();
  CHECK(far.ended());
  CHECK(quota.used == 0);
}
