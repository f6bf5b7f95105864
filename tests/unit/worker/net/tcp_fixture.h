// Listeners and connections over 127.0.0.1, with clients' state machines that only remember what they were told.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/worker/net/net_fixture.h"
#include "worker/net/connection_set.h"
#include "worker/net/listener.h"

namespace net_test {

struct FakeClient final : connection::Client {
  explicit FakeClient(connection::ClientTransport& t) : transport(t) {}
  void on_bytes(std::string_view bytes) override {
    ++reads;
    received += bytes;
    if (echo) say(bytes);
    if (close_at_bytes) transport.close();
  }
  void on_flushed() override { ++flushes; }
  void on_transport_closed() override { ++closed; }
  void say(std::string_view bytes) {
    transport.output().append(bytes);
    transport.schedule_flush();
  }

  connection::ClientTransport& transport;
  bool echo = false;
  bool close_at_bytes = false;
  std::string received;
  int reads = 0;
  int flushes = 0;
  int closed = 0;
};

// The far end: a blocking-free socket of the test itself.
class Socket {
 public:
  explicit Socket(base::UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  void send(std::string_view bytes) {
    REQUIRE(::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  // What is there now, at most `max` bytes.
  std::string receive(size_t max = 1 << 20) {
    std::string bytes(max, '\0');
    const ssize_t n = recv(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    ended_ = n == 0;
    reset_ = n < 0 && errno == ECONNRESET;
    bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return bytes;
  }
  bool ended() {
    received_ += receive();
    return ended_;
  }
  bool reset() const { return reset_; }
  // All that came so far.
  const std::string& received() {
    received_ += receive();
    return received_;
  }
  void abort() {  // RST
    const linger now{1, 0};
    setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }
  void finish() { shutdown(fd(), SHUT_WR); }
  void hang_up() { fd_.reset(); }

 private:
  base::UniqueFd fd_;
  std::string received_;
  bool ended_ = false;
  bool reset_ = false;
};

class TcpFixture : public NetFixture {
 public:
  TcpFixture() {
    connections = std::make_unique<net::ConnectionSet>(
        context(),
        [this](connection::ClientTransport& transport) {
          return clients.emplace_back(std::make_unique<FakeClient>(transport)).get();
        },
        1000);
    end_of_turn = [this] {
      connections->flush();
      connections->reap();
    };
    base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    REQUIRE(::listen(fd.get(), 128) == 0);
    socklen_t size = sizeof address_;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address_), &size);
    socket_.reset(dup(fd.get()));
    listener = std::make_unique<net::Listener>(context(), std::move(fd), "test", quota, *connections);
    listener->start();
  }
  ~TcpFixture() {
    end_of_turn = [] {};
    listener.reset();
    connections.reset();
    socket_.reset();
  }

  Socket dial() {
    base::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0);
    return Socket(std::move(fd));
  }
  // Connects and waits until the client's state machine exists.
  Socket connect_one() {
    const size_t before = clients.size();
    Socket s = dial();
    REQUIRE(until([&] { return clients.size() == before + 1; }));
    return s;
  }
  FakeClient& client() { return *clients.back(); }

  // Another descriptor of the listener's socket.
  base::UniqueFd listener_socket() const { return base::UniqueFd(dup(socket_.get())); }

  net::Quota quota;
  std::vector<std::unique_ptr<FakeClient>> clients;
  std::unique_ptr<net::ConnectionSet> connections;
  std::unique_ptr<net::Listener> listener;

 private:
  base::UniqueFd socket_;
  sockaddr_in address_{};
};

}  // namespace net_test
