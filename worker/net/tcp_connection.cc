#include "worker/net/tcp_connection.h"

#include <sys/socket.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "worker/net/connection_set.h"

namespace net {
namespace {

// What is polled for while the client is not read from: that it hung up.
constexpr int kDisconnect = 4;
static_assert(kDisconnect == UV_DISCONNECT);

using metrics::Counter;
using metrics::Gauge;

}  // namespace

TcpConnection::TcpConnection(ConnectionSet& set, base::UniqueFd fd, const SocketAddress& peer, Quota& quota)
    : set_(set),
      output_(set.context_.pool),
      quota_(quota),
      fd_(std::move(fd)),
      peer_(peer),
      poll_(set.context_.loop, fd_.get()) {
  ++quota_.used;
  set_.context_.page.add(Gauge::connections, int64_t{1});
}

TcpConnection::~TcpConnection() {
  --quota_.used;
  set_.context_.page.add(Gauge::connections, int64_t{-1});
  set_.context_.page.add(Gauge::send_buffer_bytes, -int64_t{waiting_});
}

void TcpConnection::attach(connection::Client* client) {
  client_ = client;
  poll_again();
}

void TcpConnection::schedule_flush() {
  if (scheduled_ || blocked_ || state_ == State::dead) return;
  scheduled_ = true;
  set_.schedule(*this);
}

void TcpConnection::set_reading(bool on) {
  if (reading_ == on || state_ != State::open) return;
  reading_ = on;
  if (client_ != nullptr) poll_again();
}

void TcpConnection::close() {
  if (state_ != State::open) return;
  state_ = State::closing;
  client_ = nullptr;
  reading_ = false;
  goodbye_ = !output_.empty();
  set_.start_closing(*this);
  poll_again();
  schedule_flush();
}

void TcpConnection::die() {
  if (state_ == State::dead) return;
  if (state_ == State::open) set_.start_closing(*this);
  state_ = State::dead;
  client_ = nullptr;
  poll_.stop();
  set_.bury(*this);
}

void TcpConnection::on_poll(int events) {
  set_.context_.begin_work();
  if ((events & loop::kWritable) != 0) {
    blocked_ = false;
    schedule_flush();
  }
  const bool failed = (events & loop::kError) != 0;
  if (state_ == State::lingering) {
    drain();
  } else if (reading_) {
    // After an error too: what the client sent before it may still be there, and ends with the error or end of stream.
    if (failed || (events & loop::kReadable) != 0) read();
  } else if (failed) {
    on_end_of_stream();
  } else if ((events & kDisconnect) != 0) {
    half_closed_ = true;
  }
  if (state_ != State::dead) poll_again();
}

void TcpConnection::read() {
  const std::span<char> buffer = set_.read_buffer();
  const ssize_t received = recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (received > 0) {
    set_.context_.page.add(Counter::bytes_received, static_cast<uint64_t>(received));
    client_->on_bytes({buffer.data(), static_cast<size_t>(received)});
  } else if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
    on_end_of_stream();
  }
}

void TcpConnection::on_end_of_stream() {
  if (connection::Client* client = std::exchange(client_, nullptr)) client->on_transport_closed();
  die();
}

bool TcpConnection::flush() {
  scheduled_ = false;
  if (state_ == State::dead || state_ == State::lingering) return false;
  size_t taken = 0;
  const bool writable = broken_ ? false : write(taken);
  const auto left = static_cast<uint32_t>(std::min<size_t>(output_.size(), UINT32_MAX));
  set_.context_.page.add(Counter::bytes_sent, taken);
  set_.context_.page.add(Gauge::send_buffer_bytes, int64_t{left} - int64_t{waiting_});
  waiting_ = left;
  if (state_ == State::closing) {
    if (!writable) {
      die();
    } else if (output_.empty()) {
      linger();
    } else {
      poll_again();
    }
    return false;
  }
  if (!writable) {
    broken_ = true;
    output_.clear();
    if (!reading_) {
      on_end_of_stream();
      return true;
    }
  }
  poll_again();
  if (taken == 0 || !writable) return false;
  client_->on_flushed();
  return true;
}

bool TcpConnection::write(size_t& taken) {
  iovec vectors[kMaxVectors];
  while (!output_.empty()) {
    const int count = output_.gather(0, vectors, kMaxVectors);
    size_t offered = 0;
    for (int i = 0; i < count; ++i) offered += vectors[i].iov_len;
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = static_cast<size_t>(count);
    const ssize_t sent = count == 1 ? send(fd_.get(), vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                                    : sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      blocked_ = errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
      return blocked_;
    }
    const auto size = static_cast<size_t>(sent);
    output_.drop_front(size);
    taken += size;
    if (size < offered || (taken >= kWriteBudget && !output_.empty())) {
      blocked_ = true;  // the kernel's bound or ours: the others first
      return true;
    }
  }
  return true;
}

void TcpConnection::linger() {
  shutdown(fd_.get(), SHUT_WR);
  state_ = State::lingering;
  drain();
  if (state_ == State::dead) return;
  // Nothing was said that a reset could destroy, and what had come is read.
  if (!goodbye_) return die();
  poll_again();
}

void TcpConnection::drain() {
  const std::span<char> buffer = set_.read_buffer();
  const ssize_t received = recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (received > 0) {
    drained_ += static_cast<uint32_t>(received);
    if (drained_ > kMaxDrained) die();
  } else if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
    die();
  }
}

void TcpConnection::poll_again() {
  int events = blocked_ ? loop::kWritable : 0;
  if (reading_ || state_ == State::lingering) {
    events |= loop::kReadable;
  } else if (!half_closed_) {
    events |= kDisconnect;
  }
  if (events == 0) {
    poll_.stop();
  } else {
    poll_.start(
        events, [](void* self, int ready) { static_cast<TcpConnection*>(self)->on_poll(ready); }, this);
  }
}

}  // namespace net
