#include "tests/bench/forwarder.h"

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/bench/client.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/poller.h"
#include "tests/bench/wire.h"

namespace bench {
namespace {

class Forwarder {
 public:
  explicit Forwarder(uint16_t port) : listener_(listen_loopback(port)) { poller_.add(listener_.get(), kListener); }

  void turn() {
    for (const epoll_event& event : poller_.wait(kTurnNanoseconds)) {
      if (event.data.u32 == kListener) {
        accept_one();
      } else {
        serve(event.data.u32);
      }
    }
    for (const uint32_t id : dirty_) flush(id);
    dirty_.clear();
  }

 private:
  static constexpr uint32_t kListener = UINT32_MAX;
  static constexpr uint64_t kTurnNanoseconds = 1'000'000'000;

  using Subscribers = std::vector<uint32_t>;

  struct Peer {
    explicit Peer(Fd socket) : client(std::move(socket)) {}
    Client client;
    Protocol protocol = Protocol::kMqtt311;
    const Subscribers* route = nullptr;
    bool dirty = false;
  };

  void accept_one() {
    Fd socket = accept_from(listener_);
    if (socket.get() < 0) return;
    const auto id = static_cast<uint32_t>(peers_.size());
    poller_.add(socket.get(), id);
    peers_.push_back(std::make_unique<Peer>(std::move(socket)));
  }

  // A peer that left keeps its number, so that routes need no care; a run of the benchmark is short.
  void serve(uint32_t id) {
    if (!peers_[id]) return;
    Peer& peer = *peers_[id];
    try {
      if (peer.client.blocked()) mark(id);
      if (peer.client.receive(buffer_, [&](const Frame& frame) { on_frame(id, frame); })) {
        forward_run(peer);
        return;
      }
    } catch (const std::exception&) {
    }
    run_ = {};
    peers_[id].reset();
  }

  void on_frame(uint32_t id, const Frame& frame) {
    Peer& peer = *peers_[id];
    if (frame.type() == PacketType::kPublish) {
      if (peer.route == nullptr) {
        const auto publish = parse_publish(frame, peer.protocol);
        if (publish) peer.route = &subscribers_[std::string(publish->topic)];
      }
      extend_run(frame);
      return;
    }
    forward_run(peer);
    mark(id);
    std::string& out = peer.client.out();
    const bool mqtt5 = peer.protocol == Protocol::kMqtt5;
    if (frame.type() == PacketType::kConnect && frame.body.size() > 6) {
      peer.protocol = static_cast<Protocol>(frame.body[6]);
      out += peer.protocol == Protocol::kMqtt5 ? std::string("\x20\x03\0\0\0", 5) : std::string("\x20\x02\0\0", 4);
    } else if (frame.type() == PacketType::kSubscribe) {
      const size_t count = subscribe(id, frame.body.substr(mqtt5 ? 3 : 2));
      out += '\x90';
      out += static_cast<char>(2 + (mqtt5 ? 1 : 0) + count);
      out += frame.body.substr(0, 2);
      out.append((mqtt5 ? 1 : 0) + count, '\0');
    }
  }

  size_t subscribe(uint32_t id, std::string_view filters) {
    size_t count = 0;
    for (; filters.size() > 2; ++count) {
      const size_t size = static_cast<size_t>(static_cast<uint8_t>(filters[0])) << 8 | static_cast<uint8_t>(filters[1]);
      subscribers_[std::string(filters.substr(2, size))].push_back(id);
      filters.remove_prefix(std::min(filters.size(), 2 + size + 1));
    }
    return count;
  }

  // Frames that stand one behind the other in the buffer are forwarded as one run of bytes.
  void extend_run(const Frame& frame) {
    size_t header = 2;
    for (size_t rest = frame.body.size(); rest >= 128; rest >>= 7) ++header;
    const size_t size = header + frame.body.size();
    run_ = run_.empty() ? std::string_view(frame.body.data() - header, size)
                        : std::string_view(run_.data(), run_.size() + size);
  }

  void forward_run(const Peer& from) {
    const std::string_view run = std::exchange(run_, {});
    if (run.empty() || from.route == nullptr) return;
    for (const uint32_t id : *from.route) {
      if (!peers_[id]) continue;
      peers_[id]->client.out().append(run);
      mark(id);
    }
  }

  void mark(uint32_t id) {
    if (std::exchange(peers_[id]->dirty, true)) return;
    dirty_.push_back(id);
  }

  void flush(uint32_t id) {
    if (!peers_[id]) return;
    Peer& peer = *peers_[id];
    peer.dirty = false;
    const bool was_blocked = peer.client.blocked();
    try {
      const bool blocked = !peer.client.flush();
      if (blocked != was_blocked) poller_.watch_writable(peer.client.fd(), id, blocked);
    } catch (const std::exception&) {
      peers_[id].reset();
    }
  }

  Fd listener_;
  Poller poller_;
  ReadBuffer buffer_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<uint32_t> dirty_;
  std::string_view run_;  // into buffer_
  std::unordered_map<std::string, Subscribers> subscribers_;
};

}  // namespace

int run_forwarder(uint16_t port) {
  catch_interrupts();
  Forwarder forwarder(port);
  while (!interrupted()) forwarder.turn();
  return 0;
}

}  // namespace bench
