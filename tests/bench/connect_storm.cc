#include "tests/bench/connect_storm.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/bench/client.h"
#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/poller.h"
#include "tests/bench/process_tree.h"

namespace bench {
namespace {

// Below the listen backlog of 100 that some brokers have: a handshake that does not fit is repeated a second later.
constexpr size_t kAtOnce = 50;
constexpr uint64_t kSilence = 10'000'000'000;
// A quarter of the ports that an address has, as the kernel's search for a free one gets slow when half are taken.
constexpr size_t kConnectionsPerSource = 7'000;
constexpr size_t kSpareFiles = 100;  // of the client and of the broker

class ConnectStorm {
 public:
  ConnectStorm(const Options& options, uint16_t port) : protocol_(options.protocol), port_(port) {}

  // Opens `count` more connections and returns when all are accepted.
  void open(size_t count) {
    const size_t goal = peers_.size() + count;
    uint64_t last_accepted = now_ns();
    while (accepted_ < goal) {
      while (peers_.size() < goal && peers_.size() - accepted_ < kAtOnce) start_one();
      const size_t before = accepted_;
      for (const epoll_event& event : poller_.wait(kSilence / 100)) serve(event.data.u32);
      if (interrupted()) throw std::runtime_error("interrupted");
      const uint64_t now = now_ns();
      if (accepted_ > before) last_accepted = now;
      if (now - last_accepted > kSilence) throw std::runtime_error("connections are not answered");
    }
  }

  size_t accepted() const { return accepted_; }
  Histogram& latency() { return latency_; }

 private:
  struct Peer {
    Client client;
    uint64_t started_at;
  };

  void start_one() {
    const size_t id = peers_.size();
    const uint64_t started_at = now_ns();
    Client client(connect_loopback(port_, static_cast<unsigned>(id / kConnectionsPerSource)));
    client.out() = encode_connect("idle" + std::to_string(id), protocol_);
    if (!client.flush()) throw std::runtime_error("a new connection takes no bytes");
    poller_.add(client.fd(), static_cast<uint32_t>(id));
    peers_.push_back({std::move(client), started_at});
  }

  void serve(uint32_t id) {
    Peer& peer = peers_[id];
    const bool open = peer.client.receive(buffer_, [&](const Frame& frame) {
      check_connack(frame);
      ++accepted_;
      latency_.add(now_ns() - peer.started_at);
    });
    if (!open) throw std::runtime_error("the broker closed a connection");
  }

  const Protocol protocol_;
  const uint16_t port_;
  Poller poller_;
  ReadBuffer buffer_;
  std::vector<Peer> peers_;
  size_t accepted_ = 0;
  Histogram latency_;
};

void settle(const Options& options) {
  usleep(options.quick ? 50'000 : 1'000'000);
}

Measurement::Idle growth(const Memory& before, const Memory& after, size_t connections) {
  const auto each = [connections](uint64_t from, uint64_t to) {
    return (static_cast<double>(to) - static_cast<double>(from)) / static_cast<double>(connections);
  };
  return {each(before.pss, after.pss), each(before.rss, after.rss)};
}

}  // namespace

Measurement run_connect_storm(const Options& options, const Broker& broker) {
  Measurement result;
  ConnectStorm storm(options, broker.port());
  const size_t total = std::min(options.connections, raise_file_limit() - kSpareFiles);
  const size_t first = std::min<size_t>(100, total / 10);  // so that what is allocated once is not counted
  try {
    storm.open(first);
    storm.latency().clear();
    settle(options);
    const Memory memory_before = memory(broker.pids());
    const double broker_cpu = cpu_seconds(broker.pids());
    const double client_cpu = own_cpu_seconds();
    const uint64_t start = now_ns();
    storm.open(total - first);
    result.seconds = static_cast<double>(now_ns() - start) * 1e-9;
    result.client_cpu = own_cpu_seconds() - client_cpu;
    result.broker_cpu = cpu_seconds(broker.pids()) - broker_cpu;
    settle(options);
    result.idle = growth(memory_before, memory(broker.pids()), total - first);
    if (!broker.same_processes()) result.error = "a process of the broker was replaced";
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  result.latency = storm.latency();
  result.published = total;
  result.delivered = storm.accepted() - std::min(first, storm.accepted());
  result.lost = total - storm.accepted();
  return result;
}

}  // namespace bench
