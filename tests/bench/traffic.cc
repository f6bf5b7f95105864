#include "tests/bench/traffic.h"

#include <algorithm>
#include <stdexcept>

#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/process_tree.h"

namespace bench {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kLongestWait = kSecond / 10;
constexpr uint64_t kSilence = 3 * kSecond;  // after which what is missing counts as lost
constexpr uint64_t kLongestDrain = 20 * kSecond;

uint64_t nanoseconds(double seconds) {
  return static_cast<uint64_t>(seconds * 1e9);
}

// A batch is one write that every socket takes at once, and half the in-flight window so that the other half moves.
size_t batch_size(const Plan& plan, const Load& load, const Options& options) {
  const size_t bytes = plan.topics.front().size() + options.payload + 16;
  const size_t limit = load.qos > 0 ? std::max<size_t>(options.inflight / 2, 1) : options.batch;
  return std::clamp<size_t>(65'536 / bytes, 1, std::min(options.batch, limit));
}

}  // namespace

Traffic::Traffic(const Plan& plan, const Load& load, const Options& options, const Target& target)
    : load_(load), options_(options), target_(target), copies_(plan.copies), batch_(batch_size(plan, load, options)) {
  for (size_t i = 0; i < plan.filters.size(); ++i) {
    const std::string id = "subscriber" + std::to_string(i);
    const uint32_t endpoint = add_endpoint(
        open_client(target.subscriber_port(), id, plan.filters[i], load.qos, options.protocol, plan.durable));
    endpoints_[endpoint]->subscriber = static_cast<uint32_t>(i);
  }
  for (size_t i = 0; i < plan.topics.size(); ++i) {
    const std::string id = "publisher" + std::to_string(i);
    Publisher publisher;
    publisher.message = encode_publish(plan.topics[i], options.payload, load.qos, options.protocol);
    publisher.endpoint = add_endpoint(open_client(target.publisher_port(), id, {}, load.qos, options.protocol));
    endpoints_[publisher.endpoint]->publisher = static_cast<uint32_t>(i);
    publishers_.push_back(std::move(publisher));
  }
  expected_.resize(plan.filters.size() * plan.topics.size());
}

uint32_t Traffic::add_endpoint(Fd socket) {
  const auto id = static_cast<uint32_t>(endpoints_.size());
  endpoints_.push_back(std::make_unique<Endpoint>(std::move(socket)));
  poller_.add(endpoints_.back()->client.fd(), id);
  return id;
}

Measurement Traffic::run() {
  try {
    now_ = next_due_ = now_ns();
    for (uint32_t i = 0; load_.rate == 0 && i < publishers_.size(); ++i) make_ready(i);
    run_until(now_ + nanoseconds(options_.warm_up));
    measure_window();
    publishing_ = false;
    drain();
    const bool acknowledged =
        std::ranges::all_of(publishers_, [](const Publisher& p) { return p.unacknowledged == 0; });
    if (!acknowledged) result_.error = "messages were not acknowledged";
    if (!target_.same_processes()) result_.error = "a process of the broker was replaced";
  } catch (const std::exception& error) {
    result_.error = error.what();
  }
  for (const Publisher& publisher : publishers_) {
    result_.published += publisher.published;
    const uint64_t expected = publisher.published * copies_;
    result_.lost += expected - std::min(expected, publisher.delivered);
  }
  return std::move(result_);
}

void Traffic::measure_window() {
  result_.latency.clear();
  result_.delivered = 0;
  std::vector<double> cpu;
  for (const Target::Part& part : target_.parts()) cpu.push_back(cpu_seconds(part.pids));
  const double client_cpu = own_cpu_seconds();
  const uint64_t start = now_ns();
  run_until(start + nanoseconds(options_.seconds));
  const uint64_t end = now_ns();
  result_.client_cpu = own_cpu_seconds() - client_cpu;
  for (size_t i = 0; i < cpu.size(); ++i) {
    cpu[i] = cpu_seconds(target_.parts()[i].pids) - cpu[i];
    result_.broker_cpu += cpu[i];
  }
  result_.seconds = static_cast<double>(end - start) * 1e-9;
  if (result_.delivered == 0) throw std::runtime_error("nothing was delivered in the measured time");
  for (size_t i = 0; cpu.size() > 1 && i < cpu.size(); ++i) {
    const double microseconds = cpu[i] * 1e6 / static_cast<double>(result_.delivered);
    result_.figures.push_back({target_.parts()[i].name + "_cpu_us_per_message", microseconds});
  }
}

void Traffic::drain() {
  const Measurement measured = result_;  // what arrives from now on is not part of the window
  const uint64_t start = now_ns();
  uint64_t last_event = start;
  uint64_t events = events_;
  for (uint64_t now = start; !all_arrived() && now - start < kLongestDrain && now - last_event < kSilence;) {
    if (interrupted()) throw std::runtime_error("interrupted");
    turn(kLongestWait);
    now = now_ns();
    if (events_ != events) last_event = now;
    events = events_;
  }
  result_.delivered = measured.delivered;
  result_.latency = measured.latency;
}

void Traffic::run_until(uint64_t deadline) {
  for (uint64_t now = now_ns(); now < deadline; now = now_ns()) {
    if (interrupted()) throw std::runtime_error("interrupted");
    uint64_t wait = std::min(deadline - now, kLongestWait);
    if (!ready_.empty()) wait = 0;
    if (load_.rate > 0) wait = next_due_ > now ? std::min(wait, next_due_ - now) : 0;
    turn(wait);
  }
}

void Traffic::turn(uint64_t timeout_ns) {
  for (const epoll_event& event : poller_.wait(timeout_ns)) serve(event.data.u32, event.events);
  if (publishing_ && load_.rate > 0) publish_due();
  if (publishing_ && load_.rate == 0) publish_ready();
  flush_dirty();
}

void Traffic::serve(uint32_t id, uint32_t events) {
  Endpoint& endpoint = *endpoints_[id];
  if ((events & EPOLLOUT) != 0) mark(id);
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
  now_ = 0;
  if (!endpoint.client.receive(buffer_, [&](const Frame& frame) { on_frame(endpoint, frame); })) {
    throw std::runtime_error("the broker closed a connection");
  }
  if (!endpoint.client.out().empty()) mark(id);
}

void Traffic::on_frame(Endpoint& endpoint, const Frame& frame) {
  if (now_ == 0) now_ = now_ns();
  switch (frame.type()) {
    case PacketType::kPublish:
      return on_publish(endpoint, frame);
    case PacketType::kPuback:
    case PacketType::kPubrec:
    case PacketType::kPubrel:
    case PacketType::kPubcomp:
      return on_ack(endpoint, frame);
    case PacketType::kConnect:
    case PacketType::kConnack:
    case PacketType::kSubscribe:
    case PacketType::kSuback:
    case PacketType::kDisconnect:
      break;
  }
  throw std::runtime_error("unexpected packet type " + std::to_string(frame.header >> 4) + " from the broker");
}

void Traffic::on_publish(Endpoint& endpoint, const Frame& frame) {
  const auto publish = parse_publish(frame, options_.protocol);
  if (!publish || publish->qos != load_.qos) throw std::runtime_error("a malformed PUBLISH, or one of a wrong QoS");
  if (publish->qos > 0) {
    const PacketType answer = publish->qos == 1 ? PacketType::kPuback : PacketType::kPubrec;
    append_ack(endpoint.client.out(), answer, publish->packet_id);
  }
  const Stamp stamp = read_stamp(publish->payload);
  if (stamp.publisher >= publishers_.size() || endpoint.subscriber == UINT32_MAX) {
    throw std::runtime_error("a message that was not published here");
  }
  count(endpoint.subscriber, stamp);
}

void Traffic::count(uint32_t subscriber, const Stamp& stamp) {
  ++events_;
  uint32_t& expected = expected_[subscriber * publishers_.size() + stamp.publisher];
  if (stamp.sequence < expected) {
    ++result_.repeated;
    return;
  }
  if (stamp.sequence > expected) ++result_.disordered;
  expected = stamp.sequence + 1;
  ++result_.delivered;
  result_.latency.add(now_ - std::min(now_, stamp.sent_at));
  ++publishers_[stamp.publisher].delivered;
  make_ready(stamp.publisher);
}

void Traffic::on_ack(Endpoint& endpoint, const Frame& frame) {
  ++events_;
  const auto packet_id = parse_packet_id(frame);
  if (!packet_id) throw std::runtime_error("a malformed acknowledgement");
  if (ack_reason(frame) >= 0x80) throw std::runtime_error("the broker refused a message");
  if (frame.type() == PacketType::kPubrec) return append_ack(endpoint.client.out(), PacketType::kPubrel, *packet_id);
  if (frame.type() == PacketType::kPubrel) return append_ack(endpoint.client.out(), PacketType::kPubcomp, *packet_id);
  if (endpoint.publisher == UINT32_MAX) throw std::runtime_error("an acknowledgement of nothing");
  Publisher& publisher = publishers_[endpoint.publisher];
  if (publisher.unacknowledged == 0) throw std::runtime_error("an acknowledgement too many");
  --publisher.unacknowledged;
  make_ready(endpoint.publisher);
}

size_t Traffic::credit(const Publisher& publisher) const {
  const uint64_t on_the_way = publisher.published - std::min(publisher.published, publisher.delivered / copies_);
  const size_t window = options_.window - std::min<size_t>(options_.window, on_the_way);
  if (load_.qos == 0) return window;
  return std::min(window, options_.inflight - std::min(options_.inflight, publisher.unacknowledged));
}

void Traffic::make_ready(uint32_t publisher) {
  if (load_.rate > 0 || std::exchange(publishers_[publisher].ready, true)) return;
  ready_.push_back(publisher);
}

void Traffic::publish_ready() {
  size_t kept = 0;
  for (const uint32_t id : ready_) {
    Publisher& publisher = publishers_[id];
    const Client& client = endpoints_[publisher.endpoint]->client;
    if (!client.blocked() && credit(publisher) >= batch_) publish(id, batch_);
    publisher.ready = !client.blocked() && credit(publisher) >= batch_;
    if (publisher.ready) ready_[kept++] = id;
  }
  ready_.resize(kept);
}

void Traffic::publish_due() {
  const uint64_t interval = kSecond / load_.rate;
  uint64_t now = now_ns();
  if (now > next_due_ + kLongestWait) next_due_ = now;  // a pause is not made up for by a burst
  for (; next_due_ <= now; next_due_ += interval) {
    const uint32_t id = next_publisher_;
    next_publisher_ = (id + 1) % static_cast<uint32_t>(publishers_.size());
    const Publisher& publisher = publishers_[id];
    if (endpoints_[publisher.endpoint]->client.blocked() || credit(publisher) == 0) continue;
    publish(id, 1);
  }
}

void Traffic::publish(uint32_t id, size_t messages) {
  Publisher& publisher = publishers_[id];
  std::string& out = endpoints_[publisher.endpoint]->client.out();
  Stamp stamp{now_ns(), id, 0};
  for (size_t i = 0; i < messages; ++i) {
    char* const message = out.append(publisher.message.bytes).data() + out.size() - publisher.message.bytes.size();
    if (load_.qos > 0) {
      publisher.packet_id =
          publisher.packet_id == UINT16_MAX ? uint16_t{1} : static_cast<uint16_t>(publisher.packet_id + 1);
      write_u16(message + publisher.message.packet_id_at, publisher.packet_id);
      ++publisher.unacknowledged;
    }
    stamp.sequence = static_cast<uint32_t>(publisher.published++);
    write_stamp(message + publisher.message.payload_at, stamp);
  }
  mark(publisher.endpoint);
}

void Traffic::mark(uint32_t endpoint) {
  if (std::exchange(endpoints_[endpoint]->dirty, true)) return;
  dirty_.push_back(endpoint);
}

void Traffic::flush_dirty() {
  for (const uint32_t id : dirty_) {
    Endpoint& endpoint = *endpoints_[id];
    endpoint.dirty = false;
    const bool was_blocked = endpoint.client.blocked();
    const bool blocked = !endpoint.client.flush();
    if (blocked != was_blocked) poller_.watch_writable(endpoint.client.fd(), id, blocked);
    if (was_blocked && !blocked && endpoint.publisher != UINT32_MAX) make_ready(endpoint.publisher);
  }
  dirty_.clear();
}

bool Traffic::all_arrived() const {
  return std::ranges::all_of(publishers_, [this](const Publisher& publisher) {
    return publisher.delivered >= publisher.published * copies_ && publisher.unacknowledged == 0;
  });
}

}  // namespace bench
