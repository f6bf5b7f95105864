// Carries one operation's messages through a running broker, from one thread, and measures.
//
//   publishers --batches--> broker --copies--> subscribers
//        ^                                         |
//        +---- credit: window - on their way <-----+   (and inflight - unacknowledged at QoS > 0)
//
// A saturating publisher writes as soon as it has credit for a whole batch, one batch a turn, so every broker gets the
// same bytes in the same writes, and no more is ever on its way than queues can hold: what is lost, the broker lost.
// A paced load sends one message at each tick of the rate instead, one publisher after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/bench/client.h"
#include "tests/bench/measurement.h"
#include "tests/bench/operation.h"
#include "tests/bench/poller.h"
#include "tests/bench/target.h"

namespace bench {

struct Load {
  int qos = 0;
  size_t rate = 0;  // messages a second in all; 0 saturates
};

class Traffic {
 public:
  // Brings all clients up. Throws when one of them is refused.
  Traffic(const Plan& plan, const Load& load, const Options& options, const Target& target);

  // Warm-up, measured window, and the wait for what is still on its way.
  // An error on the way is in the measurement, which then holds what was seen so far.
  Measurement run();

 private:
  struct Publisher {
    PublishTemplate message;
    uint32_t endpoint = 0;
    uint16_t packet_id = 0;
    uint64_t published = 0;
    uint64_t delivered = 0;  // copies
    size_t unacknowledged = 0;
    bool ready = false;  // is in ready_
  };
  struct Endpoint {
    explicit Endpoint(Fd socket) : client(std::move(socket)) {}
    Client client;
    uint32_t publisher = UINT32_MAX;
    uint32_t subscriber = UINT32_MAX;
    bool dirty = false;  // is in dirty_
  };

  uint32_t add_endpoint(Fd socket);
  void measure_window();
  void drain();
  void run_until(uint64_t deadline);
  void turn(uint64_t timeout_ns);

  void serve(uint32_t id, uint32_t events);
  void on_frame(Endpoint& endpoint, const Frame& frame);
  void on_publish(Endpoint& endpoint, const Frame& frame);
  void on_ack(Endpoint& endpoint, const Frame& frame);
  void count(uint32_t subscriber, const Stamp& stamp);

  size_t credit(const Publisher& publisher) const;
  void make_ready(uint32_t publisher);
  void publish_ready();
  void publish_due();
  void publish(uint32_t publisher, size_t messages);
  void mark(uint32_t endpoint);
  void flush_dirty();
  bool all_arrived() const;

  const Load load_;
  const Options& options_;
  const Target& target_;
  const size_t copies_;
  const size_t batch_;
  Poller poller_;
  ReadBuffer buffer_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<Publisher> publishers_;
  std::vector<uint32_t> expected_;  // the next sequence number, by subscriber and publisher
  std::vector<uint32_t> ready_;     // publishers that may have credit for a batch
  std::vector<uint32_t> dirty_;     // endpoints that have bytes to write
  bool publishing_ = true;
  uint64_t now_ = 0;       // when the turn's last read was done
  uint64_t next_due_ = 0;  // paced: when the next message is to be sent
  uint32_t next_publisher_ = 0;
  uint64_t events_ = 0;  // grows with each delivery and acknowledgement
  Measurement result_;
};

}  // namespace bench
