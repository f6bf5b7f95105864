#include "tests/bench/offline.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/bench/client.h"
#include "tests/bench/flood.h"
#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/poller.h"
#include "tests/bench/process_tree.h"

namespace bench {
namespace {

constexpr size_t kAtOnce = 50;  // connections whose CONNACK is waited for; see connect_storm.cc
constexpr uint64_t kSilence = 20'000'000'000;
constexpr size_t kConnectionsPerSource = 7'000;
constexpr size_t kSpareFiles = 100;

std::string name_of(size_t session) {
  return "away" + std::to_string(session);
}

std::string topic_of(size_t session) {
  return "away/" + std::to_string(session) + "/inbox";
}

void make_sessions(const Options& options, const Broker& broker, size_t sessions) {
  for (size_t i = 0; i < sessions && !interrupted(); ++i) {
    open_client(broker.port(), name_of(i), {topic_of(i)}, 1, options.protocol, true);
  }
}

// All clients come back, each takes what it is sent, until everything is there or nothing more comes.
class Return {
 public:
  Return(const Options& options, const Broker& broker, size_t sessions)
      : options_(options), broker_(broker), sessions_(sessions), goal_(uint64_t{sessions} * options.queued) {}

  void run(Measurement& result) {
    uint64_t last_event = now_ns();
    while (clients_.size() < sessions_ || accepted_ < sessions_ || result.delivered < goal_) {
      while (clients_.size() < sessions_ && clients_.size() - accepted_ < kAtOnce) start_one();
      const uint64_t before = accepted_ + result.delivered;
      for (const epoll_event& event : poller_.wait(kSilence / 100)) serve(event.data.u32, result);
      if (interrupted()) throw std::runtime_error("interrupted");
      const uint64_t now = now_ns();
      if (accepted_ + result.delivered > before) last_event = now;
      if (now - last_event > kSilence) return;
    }
  }

  size_t missing_sessions() const { return sessions_ - present_; }

 private:
  struct Session {
    explicit Session(Client connection) : client(std::move(connection)) {}
    Client client;
    uint32_t expected = 0;
  };

  void start_one() {
    const size_t id = clients_.size();
    Client client(connect_loopback(broker_.port(), static_cast<unsigned>(id / kConnectionsPerSource)));
    client.out() = encode_connect(name_of(id), options_.protocol, true);
    if (!client.flush()) throw std::runtime_error("a new connection takes no bytes");
    poller_.add(client.fd(), static_cast<uint32_t>(id));
    clients_.push_back(std::make_unique<Session>(std::move(client)));
  }

  void serve(uint32_t id, Measurement& result) {
    Session& session = *clients_[id];
    const bool open = session.client.receive(buffer_, [&](const Frame& frame) {
      if (frame.type() == PacketType::kConnack) {
        check_connack(frame);
        ++accepted_;
        present_ += static_cast<uint8_t>(frame.body[0]) & 1;
      } else {
        take(id, session, frame, result);
      }
    });
    if (!open) throw std::runtime_error("the broker closed a connection");
    const bool was_blocked = session.client.blocked();
    const bool blocked = !session.client.flush();
    if (blocked != was_blocked) poller_.watch_writable(session.client.fd(), id, blocked);
  }

  void take(uint32_t id, Session& session, const Frame& frame, Measurement& result) {
    const auto publish = frame.type() == PacketType::kPublish ? parse_publish(frame, options_.protocol) : std::nullopt;
    if (!publish || publish->qos != 1) throw std::runtime_error("a packet that should not come");
    append_ack(session.client.out(), PacketType::kPuback, publish->packet_id);
    const Stamp stamp = read_stamp(publish->payload);
    if (stamp.publisher != id) throw std::runtime_error("a message for another session");
    if (stamp.sequence < session.expected) {
      ++result.repeated;
      return;
    }
    if (stamp.sequence > session.expected) ++result.disordered;
    session.expected = stamp.sequence + 1;
    ++result.delivered;
  }

  const Options& options_;
  const Broker& broker_;
  const size_t sessions_;
  const uint64_t goal_;
  Poller poller_;
  ReadBuffer buffer_;
  std::vector<std::unique_ptr<Session>> clients_;
  size_t accepted_ = 0;
  size_t present_ = 0;
};

double seconds_since(uint64_t start) {
  return static_cast<double>(now_ns() - start) * 1e-9;
}

void run_phases(const Options& options, Broker& broker, size_t sessions, Measurement& result) {
  const auto note = [&](const char* name, double value) { result.figures.push_back({name, value}); };
  const Memory before = memory(broker.pids());
  uint64_t start = now_ns();
  make_sessions(options, broker, sessions);
  note("sessions", static_cast<double>(sessions));
  note("sessions_seconds", seconds_since(start));
  const Memory with_sessions = memory(broker.pids());
  note("pss_bytes_per_session",
       (static_cast<double>(with_sessions.pss) - static_cast<double>(before.pss)) / static_cast<double>(sessions));

  result.published = uint64_t{sessions} * options.queued;
  const FloodResult queueing = flood(options, broker, result.published, false, [&](uint64_t i) {
    const auto session = static_cast<uint32_t>(i % sessions);
    return FloodMessage{topic_of(session), session, static_cast<uint32_t>(i / sessions)};
  });
  const Memory full = memory(broker.pids());
  const auto messages = static_cast<double>(result.published);
  note("queue_seconds", queueing.seconds);
  note("queued_per_second", messages / queueing.seconds);
  note("queue_cpu_us_per_message", queueing.broker_cpu * 1e6 / messages);
  note("pss_bytes", static_cast<double>(full.pss));
  note("pss_bytes_per_message", (static_cast<double>(full.pss) - static_cast<double>(with_sessions.pss)) / messages);

  const Broker::Restart restart = broker.restart(options.kill);
  note("stop_seconds", restart.stop_seconds);
  note("restart_seconds", restart.start_seconds);
  note("pss_bytes_after_restart", static_cast<double>(memory(broker.pids()).pss));

  Return clients(options, broker, sessions);
  const double broker_cpu = cpu_seconds(broker.pids());
  const double client_cpu = own_cpu_seconds();
  start = now_ns();
  clients.run(result);
  result.seconds = seconds_since(start);
  result.broker_cpu = cpu_seconds(broker.pids()) - broker_cpu;
  result.client_cpu = own_cpu_seconds() - client_cpu;
  note("resume_seconds", result.seconds);
  if (clients.missing_sessions() > 0) {
    result.error = std::to_string(clients.missing_sessions()) + " sessions are not there any more";
  }
}

}  // namespace

Measurement run_offline(const Options& options, Broker& broker) {
  Measurement result;
  // A multiple, so that all messages of a session come from one publisher, in order.
  const size_t sessions = std::min(options.sessions, raise_file_limit() - kSpareFiles) / kPublishers * kPublishers;
  try {
    run_phases(options, broker, sessions, result);
    if (!broker.same_processes()) result.error = "a process of the broker was replaced";
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  result.lost = result.published - std::min(result.published, result.delivered);
  return result;
}

}  // namespace bench
