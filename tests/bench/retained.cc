#include "tests/bench/retained.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "tests/bench/client.h"
#include "tests/bench/flood.h"
#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/poller.h"
#include "tests/bench/process_tree.h"

namespace bench {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kSilence = 20 * kSecond;
constexpr uint64_t kTick = kSecond / 500;  // between two messages of the pair
constexpr uint64_t kGroups = 100;          // of topics, on either of two levels
constexpr std::string_view kPairTopic = "pair/latency";
constexpr std::string_view kPrefix = "kept/";

// kept/A/B/C: A is one of kGroups, and for each of them B is.
std::string topic_of(uint64_t i) {
  return "kept/" + std::to_string(i % kGroups) + "/" + std::to_string(i / kGroups % kGroups) + "/" +
         std::to_string(i / kGroups / kGroups);
}

constexpr const char* kFewFilter = "kept/7/+/0";

// Those of the first messages that kFewFilter matches.
uint64_t few(uint64_t messages) {
  uint64_t count = 0;
  for (uint64_t i = 7; i < std::min(messages, kGroups * kGroups); i += kGroups) ++count;
  return count;
}

// One subscriber that counts retained messages, and beside it a pair that sends a message each tick and notes how long
// it takes. Both are in one loop, so a part of the latency is the client's own.
class Replay {
 public:
  Replay(const Options& options, const Broker& broker)
      : protocol_(options.protocol),
        reader_(open_client(broker.port(), "reader", {}, 0, protocol_)),
        publisher_(open_client(broker.port(), "pair-publisher", {}, 0, protocol_)),
        subscriber_(open_client(broker.port(), "pair-subscriber", {std::string(kPairTopic)}, 0, protocol_)),
        message_(encode_publish(kPairTopic, Stamp::kSize, 0, protocol_)) {
    for (const uint32_t id : {kReader, kPublisher, kSubscriber}) poller_.add(client(id).fd(), id);
  }

  // Only the pair, for a while.
  void wait(double seconds) {
    latency_.clear();
    const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    while (now_ns() < end) turn();
  }

  // Subscribes and reads until `messages` retained ones are here, or nothing more comes; the seconds until the last.
  double read(const std::string& filter, uint64_t messages) {
    latency_.clear();
    retained_ = 0;
    const uint64_t start = now_ns();
    last_ = start;
    reader_.out() += encode_subscribe(++packet_id_, {filter}, 0, protocol_);
    reader_.flush();
    while (retained_ < messages && now_ns() - last_ < kSilence) turn();
    return static_cast<double>(last_ - start) * 1e-9;
  }

  uint64_t retained() const { return retained_; }
  const Histogram& latency() const { return latency_; }

 private:
  static constexpr uint32_t kReader = 0;
  static constexpr uint32_t kPublisher = 1;
  static constexpr uint32_t kSubscriber = 2;

  Client& client(uint32_t id) { return id == kReader ? reader_ : id == kPublisher ? publisher_ : subscriber_; }

  void turn() {
    if (interrupted()) throw std::runtime_error("interrupted");
    const uint64_t now = now_ns();
    if (now >= next_tick_) tick(now);
    for (const epoll_event& event : poller_.wait(next_tick_ > now ? next_tick_ - now : 0)) {
      const uint32_t id = event.data.u32;
      if (!client(id).receive(buffer_, [&](const Frame& frame) { on_frame(id, frame); })) {
        throw std::runtime_error("the broker closed a connection");
      }
    }
  }

  void tick(uint64_t now) {
    next_tick_ = std::max(next_tick_ + kTick, now);
    write_stamp(message_.bytes.data() + message_.payload_at, {now, 0, 0});
    publisher_.out() += message_.bytes;
    publisher_.flush();
  }

  void on_frame(uint32_t id, const Frame& frame) {
    if (frame.type() != PacketType::kPublish) return;
    const auto publish = parse_publish(frame, protocol_);
    if (!publish) throw std::runtime_error("a malformed PUBLISH");
    const uint64_t now = now_ns();
    if (id == kSubscriber) {
      latency_.add(now - std::min(now, read_stamp(publish->payload).sent_at));
    } else if (publish->topic.starts_with(kPrefix) && (frame.header & 1) != 0) {
      ++retained_;
      last_ = now;
    }
  }

  const Protocol protocol_;
  Poller poller_;
  ReadBuffer buffer_;
  Client reader_;
  Client publisher_;
  Client subscriber_;
  PublishTemplate message_;
  Histogram latency_;
  uint64_t next_tick_ = 0;
  uint64_t retained_ = 0;
  uint64_t last_ = 0;
  uint16_t packet_id_ = 0;
};

class Phases {
 public:
  Phases(const Options& options, Broker& broker, Measurement& result)
      : options_(options), broker_(broker), result_(result), count_(options.retained) {}

  void run() {
    fill();
    replay();
    const Broker::Restart restart = broker_.restart(options_.kill);
    note("stop_seconds", restart.stop_seconds);
    note("restart_seconds", restart.start_seconds);
    note("pss_bytes_after_restart", static_cast<double>(memory(broker_.pids()).pss));
    Replay again(options_, broker_);
    note("replay_after_restart_seconds", again.read("#", count_));
    lose(count_, again.retained());
  }

 private:
  void fill() {
    const Memory before = memory(broker_.pids());
    const FloodResult filling = flood(options_, broker_, count_, true, [](uint64_t i) {
      return FloodMessage{topic_of(i), 0, static_cast<uint32_t>(i)};
    });
    const Memory after = memory(broker_.pids());
    const auto count = static_cast<double>(count_);
    result_.published = result_.delivered = count_;
    result_.seconds = filling.seconds;
    result_.broker_cpu = filling.broker_cpu;
    result_.client_cpu = filling.client_cpu;
    note("publish_seconds", filling.seconds);
    note("pss_bytes", static_cast<double>(after.pss));
    note("pss_bytes_per_message", (static_cast<double>(after.pss) - static_cast<double>(before.pss)) / count);
  }

  void replay() {
    Replay replay(options_, broker_);
    replay.wait(options_.quick ? 0.2 : 2);
    latency("quiet", replay.latency());
    const double cpu = cpu_seconds(broker_.pids());
    const double seconds = replay.read("#", count_);
    note("replay_seconds", seconds);
    note("replay_per_second", static_cast<double>(replay.retained()) / std::max(seconds, 1e-9));
    note("replay_cpu_us_per_message", (cpu_seconds(broker_.pids()) - cpu) * 1e6 / static_cast<double>(count_));
    result_.latency = replay.latency();
    latency("replay", replay.latency());
    lose(count_, replay.retained());
    note("few_matches", static_cast<double>(few(count_)));
    note("few_seconds", replay.read(kFewFilter, few(count_)));
    lose(few(count_), replay.retained());
  }

  void latency(const std::string& when, const Histogram& histogram) {
    const auto microseconds = [](uint64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-3; };
    note("latency_us_" + when + "_p50", microseconds(histogram.percentile(0.5)));
    note("latency_us_" + when + "_p99", microseconds(histogram.percentile(0.99)));
    note("latency_us_" + when + "_max", microseconds(histogram.max()));
  }

  void lose(uint64_t expected, uint64_t got) { result_.lost += expected - std::min(expected, got); }
  void note(std::string name, double value) { result_.figures.push_back({std::move(name), value}); }

  const Options& options_;
  Broker& broker_;
  Measurement& result_;
  const uint64_t count_;
};

}  // namespace

Measurement run_retained(const Options& options, Broker& broker) {
  Measurement result;
  try {
    Phases(options, broker, result).run();
    if (!broker.same_processes()) result.error = "a process of the broker was replaced";
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  return result;
}

}  // namespace bench
