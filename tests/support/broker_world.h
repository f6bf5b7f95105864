// The brokers of a host in memory: clients whose packets are lines of text, links that carry what the test lets
// through, a clock that stands still, disks that outlive the workers. A slot may be played by the test itself:
// ScriptedPeer.
//
//   BrokerWorld world(2);
//   BrokerClient sub(world, 1), pub(world, 0);
//   sub.connect("sub"), pub.connect("pub");
//   sub.subscribe("t", 1), pub.publish("t", "hi", 1);
//   CHECK(sub.received() == Lines{...});                   // as proto::describe() prints packets
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "shared/bus/message_codec.h"
#include "shared/store/memory_store.h"
#include "tests/support/lines.h"
#include "tests/support/manual_clock.h"
#include "worker/broker/broker.h"

namespace support {

class BrokerClient;

class BrokerWorld {
 public:
  struct Options {
    config::Mqtt mqtt;
    uint64_t link_credit = 16 * 1024 * 1024;
    uint32_t started = UINT32_MAX;  // of the workers; the others are for start() or a ScriptedPeer
    bool clustered = false;         // the slot behind the workers is the gateway's: a ScriptedPeer
  };
  explicit BrokerWorld(uint32_t workers);
  BrokerWorld(uint32_t workers, const Options& options);
  ~BrokerWorld();
  BrokerWorld(const BrokerWorld&) = delete;
  BrokerWorld& operator=(const BrokerWorld&) = delete;

  broker::Broker& operator[](uint32_t slot) { return *workers_[slot]->broker; }
  broker::PeerId id(uint32_t slot) const { return {slot, workers_[slot]->incarnation}; }
  bool alive(uint32_t slot) const { return workers_[slot] != nullptr; }

  // Turns and bytes until nothing moves any more.
  void run();
  void turn(uint32_t slot);
  void pass(base::MonoMs ms);

  // What `from` writes stays where it is: in the kernel (hold), or with the writer (block).
  void hold(uint32_t from, uint32_t to, bool held = true);
  void block(uint32_t from, uint32_t to, bool blocked = true);
  // With what its predecessor in that slot has stored.
  void start(uint32_t slot);
  // Its clients' connections end. The others are told at once, and read what they are let.
  void kill(uint32_t slot);
  // Tells everybody who lives; `more` are played by the test.
  void announce(const std::vector<broker::PeerId>& more = {});

  uint64_t count(uint32_t slot, metrics::Counter counter) const;
  int64_t gauge(uint32_t slot, metrics::Gauge gauge) const;
  store::MemoryStore& store(uint32_t slot) { return workers_[slot]->store; }
  const store::MemoryStore::Disk& disk(uint32_t slot) const { return disks_[slot]; }
  // Nothing can be written any more: the store is slow, or full and says so.
  void set_slow(uint32_t slot) { workers_[slot]->store.hold(); }
  void set_full(uint32_t slot);
  void set_well(uint32_t slot);
  bool ready(uint32_t slot) const { return workers_[slot]->ready; }
  // A word that starts with `prefix` and has its home there: a client id or a topic.
  std::string at_home(uint32_t slot, const std::string& prefix) const;

  ManualClock clock;
  base::ChunkPool pool;
  uint64_t unsure_until_us = 0;  // broker::Environment, of who is started from now on

 private:
  friend class BrokerClient;
  struct Worker {
    explicit Worker(store::MemoryStore::Disk& disk) : store(disk) {}
    uint64_t incarnation = 0;
    base::Random random{1};
    store::MemoryStore store;
    metrics::Page page{};
    bool ready = false;
    std::unique_ptr<broker::Broker> broker;
  };
  struct Piece {
    std::string bytes;
    int descriptor = -1;
  };
  struct Pipe {
    broker::PeerId from;
    broker::PeerId to;
    std::deque<Piece> pieces;
    bool held = false;
    bool blocked = false;
    bool connected = false;
  };
  Pipe& pipe(broker::PeerId from, broker::PeerId to);
  bool lives(broker::PeerId peer) const;
  void write(broker::PeerId from, uint32_t to, bus::Link& link);
  bool connect_links();
  bool move_bytes();
  bool bury();

  config::Config config_;
  Options options_;
  uint64_t last_incarnation_ = 100;
  std::vector<store::MemoryStore::Disk> disks_;   // by slot
  std::vector<std::unique_ptr<Worker>> workers_;  // by slot; null: dead
  std::deque<Pipe> pipes_;
  std::vector<BrokerClient*> clients_;
};

class BrokerClient final : public connection::ClientTransport {
 public:
  BrokerClient(BrokerWorld& world, uint32_t slot, proto::ProtocolVersion version = proto::ProtocolVersion::v5);
  ~BrokerClient() override;

  struct Terms {
    bool clean = true;
    uint32_t expiry = 0;  // seconds
    uint16_t receive_maximum = 0;
    std::string_view will = {};  // its topic
  };
  // CONNECT and everything that follows from it; the CONNACK is left to received().
  void connect(const std::string& id, const Terms& terms);
  void connect(const std::string& id) { connect(id, Terms()); }
  void subscribe(std::string_view filter, int qos = 0);
  void unsubscribe(std::string_view filter);
  // Without running the world: for what must come in one turn.
  void write_publish(std::string_view topic, std::string_view payload, int qos = 0, bool retain = false);
  void publish(std::string_view topic, std::string_view payload, int qos = 0, bool retain = false);
  void puback(uint16_t packet_id);
  // DISCONNECT; `expiry` is the session's from now on.
  void disconnect(std::optional<uint32_t> expiry = std::nullopt);
  void drop();  // without

  // The packets since the last call, without their properties.
  Lines received();
  // The payloads of the PUBLISHes among them.
  Lines payloads();

  bool closed = false;  // by the broker
  bool reading = true;

  base::ByteChain& output() override { return output_; }
  void schedule_flush() override {}
  void set_reading(bool on) override { reading = on; }
  void close() override;
  std::string peer_address() const override { return "127.0.0.1:1"; }

 private:
  friend class BrokerWorld;
  void take_output();
  template <typename F>
  void read(F&& each);
  void send(std::string_view bytes);
  uint16_t next_id() { return ++last_id_; }

  BrokerWorld& world_;
  const uint32_t slot_;
  const proto::ProtocolVersion version_;
  base::ByteChain output_;
  connection::Client* client_ = nullptr;
  std::string inbox_;
  uint16_t last_id_ = 0;
};

// The other end of worker 0's link, as worker 1 of the host (or another one), written by the test.
class ScriptedPeer final : bus::FrameHandler {
 public:
  // `others` are on the host, too.
  explicit ScriptedPeer(BrokerWorld& world, uint32_t slot = 1, uint64_t incarnation = 7,
                        std::vector<broker::PeerId> others = {});

  // A frame whose body is in the dialect of tests/vectors.
  void send(bus::FrameType type, std::string_view dialect = {}, uint8_t flags = 0);
  // The same with a message behind it.
  void send(bus::FrameType type, std::string_view dialect, const bus::Message& message);
  void send_raw(bus::FrameType type, std::string_view body, uint8_t flags = 0);
  static std::string bytes(std::string_view dialect);
  // Turns of worker 0 and bytes in both directions until nothing moves any more. False: it called something malformed.
  bool run();
  // The frames since the last call: their type, "!" if an acknowledgement is asked for, their body in hexadecimal.
  Lines frames();
  // Such a line, of a body in the dialect.
  static std::string frame(bus::FrameType type, std::string_view dialect, uint8_t flags = 0);
  static std::string frame_raw(bus::FrameType type, std::string_view body, uint8_t flags = 0);

  const broker::PeerId id;

 private:
  bool on_frame(uint8_t type, uint8_t flags, std::string_view body, const base::BufferRef& attachment) override;

  BrokerWorld& world_;
  bus::Link link_;
  Lines frames_;
};

}  // namespace support
