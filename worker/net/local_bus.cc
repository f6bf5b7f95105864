#include "worker/net/local_bus.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace net {
namespace {

constexpr uint64_t kStarvedRetryMs = 20;

}  // namespace

LocalBus::LocalBus(Context& context, const Peer& self, const std::string& directory, BusEndpoint& endpoint)
    : context_(context),
      self_(self),
      endpoint_(endpoint),
      directory_(directory),
      read_buffer_(new char[kReadBuffer]),
      listener_(directory_.listen(self.slot)),
      timer_(context.loop),
      listener_poll_(context.loop, listener_.get()) {
  listen();
}

LocalBus::~LocalBus() = default;

void LocalBus::listen() {
  deaf_ = false;
  listener_poll_.start(
      loop::kReadable, [](void* bus, int) { static_cast<LocalBus*>(bus)->accept(); }, this);
}

// --- who is there ---

void LocalBus::set_peers(const std::vector<Peer>& live) {
  std::vector<Peer> silent;
  for (Known& known : known_) {
    if (std::find(live.begin(), live.end(), known.peer) != live.end()) continue;
    known.alive = false;
    known.retry_at = 0;
    if (known.connection == nullptr) silent.push_back(known.peer);
  }
  for (const Peer& peer : silent) forget(peer);
  for (const Peer& peer : live) {
    if (peer.slot == self_.slot || find(peer) != nullptr) continue;
    known_.push_back({.peer = peer});
    if (we_dial(peer)) dial(known_.back());
  }
  set_timer();
}

void LocalBus::forget(Peer peer) {
  std::erase_if(known_, [&](const Known& known) { return known.peer == peer; });
  endpoint_.peer_gone(peer);
}

LocalBus::Known* LocalBus::find(const Peer& peer) {
  const auto it = std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.peer == peer; });
  return it == known_.end() ? nullptr : &*it;
}

LocalBus::Known* LocalBus::find(const BusConnection& connection) {
  const auto it =
      std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.connection == &connection; });
  return it == known_.end() ? nullptr : &*it;
}

// --- connections ---

void LocalBus::accept() {
  context_.begin_work();
  base::UniqueFd fd = accept_bus(listener_.get());
  if (fd) {
    const size_t strangers = connections_.size() - connected();
    if (strangers < kMaxStrangers) adopt(std::move(fd));
  } else if (errno != EAGAIN) {
    deaf_ = true;  // out of descriptors, mostly
    listener_poll_.stop();
    set_timer();
  }
}

BusConnection& LocalBus::adopt(base::UniqueFd fd) {
  return *connections_.emplace_back(std::make_unique<BusConnection>(context_, std::move(fd),
                                                                    static_cast<BusConnection::Owner&>(*this),
                                                                    std::span<char>{read_buffer_.get(), kReadBuffer}));
}

void LocalBus::dial(Known& known) {
  known.retry_at = 0;
  const bus::Link* link = endpoint_.link(known.peer);
  base::UniqueFd fd = link != nullptr ? directory_.dial(known.peer.slot) : base::UniqueFd();
  if (!fd) return dial_later(known);
  known.connection = &adopt(std::move(fd));
  known.connection->send_hello({self_, known.peer, link->received()});
}

void LocalBus::dial_later(Known& known) {
  known.retry_at = context_.loop.now_ms() + known.retry_ms;
  known.retry_ms = std::min(known.retry_ms * 2, kLastRetryMs);
}

std::string_view LocalBus::objection(const Known* known, const BusConnection& connection, const Hello& hello) const {
  if (!(hello.to == self_)) return "meant for another process";
  if (known == nullptr) return "from an unknown process";
  const bool dialled = known->connection == &connection;
  // A process that answered our call before it died may have written more than its hello.
  if (!known->alive && !dialled) return "from a dead process";
  if (dialled != we_dial(known->peer)) return "from the wrong end";
  return {};
}

void LocalBus::on_hello(BusConnection& connection, const Hello& hello) {
  Known* const dialled = find(connection);
  Known* const known = find(hello.from);
  std::string_view problem = objection(known, connection, hello);
  if (problem.empty() && dialled != nullptr && dialled != known) problem = "from another process than was called";
  bus::Link* const link = problem.empty() ? endpoint_.link(hello.from) : nullptr;
  if (problem.empty() && dialled == nullptr) {
    // The peer would not call again if the connection it had were still good.
    if (known->connection != nullptr) drop(*known, "replaced by a new connection");
  }
  const uint64_t received = link != nullptr ? link->received() : 0;
  if (problem.empty() && (link == nullptr || !endpoint_.peer_connected(hello.from, hello.received))) {
    problem = "refused by the broker";
  }
  if (!problem.empty()) return on_closed(connection, problem);

  known->connection = &connection;
  if (dialled == nullptr) connection.send_hello({self_, hello.from, received});
  connection.establish(*link);
  context_.log.debug("bus connected", {{"slot", known->peer.slot}, {"incarnation", known->peer.incarnation}});
}

bool LocalBus::on_bytes(BusConnection& connection, std::string_view bytes) {
  Known* const known = find(connection);
  known->retry_ms = kFirstRetryMs;
  return endpoint_.peer_bytes(known->peer, bytes);
}

void LocalBus::on_progress(BusConnection& connection) {
  endpoint_.peer_progress(find(connection)->peer);
  if (connection.starved()) set_timer();
}

void LocalBus::on_closed(BusConnection& connection, std::string_view reason) {
  if (Known* const known = find(connection)) {
    drop(*known, reason);
    if (!known->alive) {
      forget(known->peer);
    } else if (we_dial(known->peer)) {
      dial_later(*known);
      set_timer();
    }
  } else {
    context_.log.debug("bus connection refused", {{"reason", reason}});
    retire(connection);
  }
}

void LocalBus::drop(Known& known, std::string_view reason) {
  BusConnection& connection = *std::exchange(known.connection, nullptr);
  const bool established = connection.established();
  retire(connection);
  if (!established) return;
  endpoint_.peer_disconnected(known.peer);
  context_.log.write(known.alive ? logging::Level::info : logging::Level::debug, "bus connection closed",
                     {{"slot", known.peer.slot}, {"incarnation", known.peer.incarnation}, {"reason", reason}});
}

void LocalBus::retire(BusConnection& connection) {
  connection.close();
  const auto it = std::find_if(connections_.begin(), connections_.end(),
                               [&](const auto& owned) { return owned.get() == &connection; });
  closed_.push_back(std::move(*it));
  connections_.erase(it);
}

size_t LocalBus::connected() const {
  return static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(),
                                           [](const auto& connection) { return connection->established(); }));
}

// --- writing ---

void LocalBus::flush(uint32_t slot, const bus::Link& link) {
  for (const Known& known : known_) {
    if (known.peer.slot != slot || known.connection == nullptr || known.connection->link() != &link) continue;
    known.connection->flush();
    if (known.connection->starved()) set_timer();
    return;
  }
}

bool LocalBus::drained() const {
  return std::none_of(known_.begin(), known_.end(), [](const Known& known) {
    return known.alive && known.connection != nullptr && known.connection->established() &&
           known.connection->link()->waiting();
  });
}

// --- later ---

void LocalBus::set_timer() {
  const uint64_t now = context_.loop.now_ms();
  uint64_t wait = deaf_ ? kStarvedRetryMs : UINT64_MAX;
  for (const Known& known : known_) {
    if (known.retry_at != 0) wait = std::min(wait, known.retry_at > now ? known.retry_at - now : 0);
    if (known.connection != nullptr && known.connection->starved()) wait = std::min(wait, kStarvedRetryMs);
  }
  if (wait == UINT64_MAX) {
    timer_.stop();
  } else {
    timer_.start(wait, 0, [this] { on_timer(); });
  }
}

void LocalBus::on_timer() {
  context_.begin_work();
  if (deaf_) listen();
  for (Known& known : known_) {
    if (known.retry_at != 0 && known.retry_at <= context_.loop.now_ms()) dial(known);
    if (known.connection != nullptr && known.connection->starved()) {
      const uint64_t before = known.connection->link()->written();
      known.connection->flush();
      if (known.connection->link()->written() != before) endpoint_.peer_progress(known.peer);
    }
  }
  set_timer();
}

}  // namespace net
