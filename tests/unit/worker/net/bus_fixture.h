// Buses of several workers in one process and one loop, with endpoints that keep what they were told.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/worker/net/net_fixture.h"
#include "worker/net/local_bus.h"

namespace net_test {

using net::Peer;
using Frames = std::vector<std::string>;

class FakeEndpoint final : public net::BusEndpoint {
 public:
  struct Known final : bus::FrameHandler {
    explicit Known(base::ChunkPool& pool) : link(pool) {}
    bool on_frame(uint8_t type, uint8_t, std::string_view body, const base::BufferRef& attachment) override {
      frames.emplace_back(body);
      if (attachment) frames.back() += '@' + std::string(attachment->data(), attachment->capacity());
      bytes += body.size();
      return type != 99;
    }
    bus::Link link;
    Frames frames;
    size_t bytes = 0;
    int connects = 0;
    int disconnects = 0;
    int progress = 0;
    bool gone = false;
  };

  explicit FakeEndpoint(base::ChunkPool& pool) : pool_(pool) {}
  bus::Link* link(const Peer& peer) override { return known(peer).gone ? nullptr : &known(peer).link; }
  bool peer_connected(const Peer& peer, uint64_t peer_received) override {
    ++known(peer).connects;
    return known(peer).link.connected(peer_received);
  }
  void peer_disconnected(const Peer& peer) override {
    ++known(peer).disconnects;
    known(peer).link.disconnected();
  }
  bool peer_bytes(const Peer& peer, std::string_view bytes) override {
    taken += bytes.size();
    return known(peer).link.on_bytes(bytes, known(peer));
  }
  void peer_gone(const Peer& peer) override { known(peer).gone = true; }
  bool saturated() const override { return taken >= enough; }
  void peer_progress(const Peer& peer) override { ++known(peer).progress; }
  size_t taken = 0;  // in this turn
  size_t enough = SIZE_MAX;

  Known& known(const Peer& peer) {
    auto& entry = known_[{peer.slot, peer.incarnation}];
    if (entry == nullptr) entry = std::make_unique<Known>(pool_);
    return *entry;
  }
  // What the broker's end_of_turn() does for the links.
  void flush(net::LocalBus& bus) {
    for (auto& [peer, entry] : known_) {
      entry->link.acknowledge_if_due();
      if (entry->link.waiting()) bus.flush(peer.first, entry->link);
    }
  }

 private:
  base::ChunkPool& pool_;
  std::map<std::pair<uint32_t, uint64_t>, std::unique_ptr<Known>> known_;
};

class BusFixture : public NetFixture {
 public:
  struct Member {
    Peer self;
    FakeEndpoint endpoint;
    std::unique_ptr<net::LocalBus> bus;
    Member(net::Context& context, Peer peer, const std::string& directory)
        : self(peer),
          endpoint(context.pool),
          bus(std::make_unique<net::LocalBus>(context, peer, directory, endpoint)) {}
    FakeEndpoint::Known& with(const Member& other) { return endpoint.known(other.self); }
    bus::Link& link(const Member& other) { return with(other).link; }
    void say(const Member& other, std::string_view body, uint8_t type = 1) {
      std::memcpy(link(other).append(type, bus::kAckSoon, body.size()), body.data(), body.size());
    }
  };

  BusFixture() {
    char name[] = "/tmp/mm-bus-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    directory = std::string(name) + "/bus";
    end_of_turn = [this] {
      for (auto& m : members) {
        if (m->bus == nullptr) continue;
        m->endpoint.taken = 0;
        m->endpoint.flush(*m->bus);
        m->bus->reap();
      }
    };
  }
  ~BusFixture() {
    end_of_turn = [] {};
    members.clear();
    std::filesystem::remove_all(std::filesystem::path(directory).parent_path());
  }

  Member& join(uint32_t slot, uint64_t incarnation) {
    return *members.emplace_back(std::make_unique<Member>(context(), Peer{slot, incarnation}, directory));
  }
  // The process is killed: its descriptors are closed, and nothing of it runs.
  void kill(Member& m) {
    m.bus->reap();
    m.bus.reset();
  }
  // The master tells everybody who is alive.
  void announce() {
    std::vector<Peer> live;
    for (auto& m : members) {
      if (m->bus != nullptr) live.push_back(m->self);
    }
    for (auto& m : members) {
      if (m->bus != nullptr) m->bus->set_peers(live);
    }
  }
  bool connected(Member& a, Member& b) {
    return until([&] { return a.link(b).is_connected() && b.link(a).is_connected(); });
  }
  // A connection to a slot's socket that is made by hand.
  base::UniqueFd dial(uint32_t slot) {
    base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (directory + '/' + std::to_string(slot) + ".sock").c_str());
    REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
  }

  std::string directory;
  std::vector<std::unique_ptr<Member>> members;
};

}  // namespace net_test
