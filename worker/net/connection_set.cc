#include "worker/net/connection_set.h"

#include <algorithm>
#include <system_error>

#include "shared/base/check.h"

namespace net {

ConnectionSet::ConnectionSet(Context& context, ClientFactory make_client, uint64_t linger_ms)
    : context_(context),
      make_client_(std::move(make_client)),
      tick_ms_(linger_ms / kLingerTicks),
      read_buffer_(new char[kReadBuffer]),
      sweep_timer_(context.loop) {
  sweep_timer_.unref();
}

ConnectionSet::~ConnectionSet() = default;

void ConnectionSet::add(base::UniqueFd fd, const SocketAddress& peer, Quota& quota) {
  std::unique_ptr<TcpConnection> owned;
  try {
    owned = std::make_unique<TcpConnection>(*this, std::move(fd), peer, quota);
  } catch (const std::system_error& error) {
    context_.log.warn("cannot poll a connection", {{"peer", peer.text()}, {"error", error.what()}});
    return;
  }
  TcpConnection& connection = *owned;
  put(open_, std::move(owned));
  connection::Client* client = make_client_(connection);
  if (client == nullptr) {
    connection.die();
  } else if (connection.state_ == TcpConnection::State::open) {  // it may have been closed without a byte read
    connection.attach(client);
  }
}

bool ConnectionSet::flush() {
  bool told = false;
  flushing_.swap(dirty_);
  for (TcpConnection* connection : flushing_) told |= connection->flush();
  flushing_.clear();
  return told;
}

void ConnectionSet::reap() {
  // One that is still scheduled is on another list as well, which the next flush() clears.
  std::erase_if(dead_, [this](TcpConnection* connection) {
    if (connection->scheduled_) return false;
    take(closing_, connection->index_);
    return true;
  });
  if (closing_.empty() && sweep_timer_.active()) sweep_timer_.stop();
}

void ConnectionSet::start_closing(TcpConnection& connection) {
  put(closing_, take(open_, connection.index_));
  // One tick more: the first one may be about to come.
  connection.deadline_ = ticks_ + kLingerTicks + 1;
  if (!sweep_timer_.active()) sweep_timer_.start(tick_ms_, tick_ms_, [this] { sweep(); });
}

void ConnectionSet::sweep() {
  context_.begin_work();
  ++ticks_;
  for (const auto& connection : closing_) {
    if (static_cast<int32_t>(ticks_ - connection->deadline_) >= 0) connection->die();
  }
}

void ConnectionSet::put(Owned& owned, std::unique_ptr<TcpConnection> connection) {
  connection->index_ = static_cast<uint32_t>(owned.size());
  owned.push_back(std::move(connection));
}

std::unique_ptr<TcpConnection> ConnectionSet::take(Owned& owned, uint32_t index) {
  CHECK(index < owned.size());
  std::unique_ptr<TcpConnection> taken = std::move(owned[index]);
  if (index + 1 < owned.size()) {
    owned[index] = std::move(owned.back());
    owned[index]->index_ = index;
  }
  owned.pop_back();
  return taken;
}

}  // namespace net
