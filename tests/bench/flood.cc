#include "tests/bench/flood.h"

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

constexpr uint64_t kSilence = 60'000'000'000;

class Flood {
 public:
  Flood(const Options& options, const Broker& broker, uint64_t messages, bool retain,
        const std::function<FloodMessage(uint64_t)>& make)
      : options_(options), messages_(messages), retain_(retain), make_(make) {
    for (uint64_t i = 0; i < kPublishers; ++i) {
      Fd socket = open_client(broker.port(), "flood" + std::to_string(i), {}, 0, options.protocol);
      publishers_.push_back(std::make_unique<Publisher>(Client(std::move(socket)), i));
      poller_.add(publishers_.back()->client.fd(), static_cast<uint32_t>(i));
    }
  }

  void run() {
    uint64_t last = now_ns();
    for (uint32_t i = 0; i < kPublishers; ++i) fill(i);
    while (acknowledged_ < messages_) {
      const uint64_t before = acknowledged_;
      for (const epoll_event& event : poller_.wait(kSilence / 100)) serve(event.data.u32);
      if (interrupted()) throw std::runtime_error("interrupted");
      const uint64_t now = now_ns();
      if (acknowledged_ > before) last = now;
      if (now - last > kSilence) throw std::runtime_error("messages were not acknowledged");
    }
  }

 private:
  struct Publisher {
    Publisher(Client connection, uint64_t first) : client(std::move(connection)), next(first) {}
    Client client;
    uint64_t next;
    size_t unacknowledged = 0;
    uint16_t packet_id = 0;
  };

  void serve(uint32_t id) {
    Publisher& publisher = *publishers_[id];
    const bool open = publisher.client.receive(buffer_, [&](const Frame& frame) {
      if (frame.type() != PacketType::kPuback)
        throw std::runtime_error("the broker sent no PUBACK, but another packet");
      if (ack_reason(frame) >= 0x80) throw std::runtime_error("the broker refused a message");
      --publisher.unacknowledged;
      ++acknowledged_;
    });
    if (!open) throw std::runtime_error("the broker closed a connection");
    fill(id);
  }

  void fill(uint32_t id) {
    Publisher& publisher = *publishers_[id];
    while (!publisher.client.blocked() && publisher.unacknowledged < options_.inflight && publisher.next < messages_) {
      append(publisher, make_(publisher.next));
      publisher.next += kPublishers;
    }
    const bool was_blocked = publisher.client.blocked();
    const bool blocked = !publisher.client.flush();
    if (blocked != was_blocked) poller_.watch_writable(publisher.client.fd(), id, blocked);
  }

  void append(Publisher& publisher, const FloodMessage& message) {
    PublishTemplate bytes = encode_publish(message.topic, options_.payload, 1, options_.protocol);
    publisher.packet_id =
        publisher.packet_id == UINT16_MAX ? uint16_t{1} : static_cast<uint16_t>(publisher.packet_id + 1);
    write_u16(bytes.bytes.data() + bytes.packet_id_at, publisher.packet_id);
    write_stamp(bytes.bytes.data() + bytes.payload_at, {now_ns(), message.publisher, message.sequence});
    if (retain_) bytes.bytes.front() = static_cast<char>(bytes.bytes.front() | 1);
    publisher.client.out() += bytes.bytes;
    ++publisher.unacknowledged;
  }

  const Options& options_;
  const uint64_t messages_;
  const bool retain_;
  const std::function<FloodMessage(uint64_t)>& make_;
  Poller poller_;
  ReadBuffer buffer_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  uint64_t acknowledged_ = 0;
};

}  // namespace

FloodResult flood(const Options& options, const Broker& broker, uint64_t messages, bool retain,
                  const std::function<FloodMessage(uint64_t)>& make) {
  Flood flood(options, broker, messages, retain, make);
  const double broker_cpu = cpu_seconds(broker.pids());
  const double client_cpu = own_cpu_seconds();
  const uint64_t start = now_ns();
  flood.run();
  return {static_cast<double>(now_ns() - start) * 1e-9, cpu_seconds(broker.pids()) - broker_cpu,
          own_cpu_seconds() - client_cpu};
}

}  // namespace bench
