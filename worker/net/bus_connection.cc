#include "worker/net/bus_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace net {
namespace {

constexpr size_t kMaxDescriptors = 16;  // the kernel never joins what two sendmsg() sent along; we send one

}  // namespace

BusConnection::BusConnection(Context& context, base::UniqueFd fd, Owner& owner, std::span<char> buffer)
    : context_(context), owner_(owner), buffer_(buffer), fd_(std::move(fd)), poll_(context.loop, fd_.get()) {
  poll_again();
}

void BusConnection::send_hello(const Hello& hello) {
  const Hello::Bytes bytes = encode(hello);
  // It always fits into a fresh socket; if not all is well the reading side finds out.
  if (send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
    shutdown(fd_.get(), SHUT_RDWR);
  }
}

void BusConnection::establish(bus::Link& link) {
  link_ = &link;
}

void BusConnection::close() {
  closed_ = true;
  link_ = nullptr;
  poll_.stop();
}

void BusConnection::fail(std::string_view reason) {
  if (closed_) return;
  owner_.on_closed(*this, reason);
}

void BusConnection::on_poll(int events) {
  context_.begin_work();
  if ((events & loop::kWritable) != 0) {
    blocked_ = false;
    const uint64_t before = link_ != nullptr ? link_->written() : 0;
    flush();
    if (link_ != nullptr && link_->written() != before) owner_.on_progress(*this);
  }
  if (!closed_ && (events & (loop::kReadable | loop::kError)) != 0) {
    if (link_ == nullptr) {
      read_hello();
    } else {
      read_link();
    }
  }
  if (!closed_) poll_again();
}

void BusConnection::read_hello() {
  const ssize_t received = recv(fd_.get(), hello_.data() + hello_size_, hello_.size() - hello_size_, 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0) return fail("refused");
  hello_size_ += static_cast<size_t>(received);
  if (hello_size_ < hello_.size()) return;
  const std::optional<Hello> hello = decode(hello_);
  if (!hello) return fail("not a hello of this version");
  owner_.on_hello(*this, *hello);
}

void BusConnection::read_link() {
  for (size_t taken = 0; taken < kReadBudget && !closed_;) {
    const bool late = owner_.saturated();
    if (late && taken != 0) return;
    const size_t asked = late ? kLeastRead : std::min(read_size_, buffer_.size());
    const size_t size = receive(asked);
    taken += size;
    if (!late && owner_.saturated()) {
      read_size_ = std::max(read_size_ / 4, kLeastRead);
    } else if (size == asked) {
      read_size_ = std::min(read_size_ * 2, buffer_.size());
    }
    if (size < std::min(asked, kReadAgain)) return;
  }
}

size_t BusConnection::receive(size_t max) {
  alignas(cmsghdr) char ancillary[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  iovec data{buffer_.data(), max};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = ancillary;
  message.msg_controllen = sizeof ancillary;
  const ssize_t received = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
  if (received < 0) {
    if (errno != EAGAIN && errno != EINTR) fail(std::strerror(errno));
    return 0;
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      link_->on_attachment(descriptor);
    }
  }
  if (received == 0) {
    fail("end of stream");
    return 0;
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    fail("a descriptor was lost");  // we have too many open; a new connection brings it again
    return 0;
  }
  const auto size = static_cast<size_t>(received);
  if (!owner_.on_bytes(*this, {buffer_.data(), size})) {
    fail("malformed");
    return 0;
  }
  return size;
}

void BusConnection::flush() {
  starved_ = false;
  if (link_ == nullptr || blocked_ || write_broken_) return;
  iovec vectors[kMaxVectors];
  size_t taken = 0;
  for (;;) {
    int attachment = -1;
    const int count = link_->gather(vectors, kMaxVectors, attachment);
    if (count == 0) {
      starved_ = link_->waiting();
      break;
    }
    if (taken >= kWriteBudget) {
      blocked_ = true;
      break;
    }
    const ssize_t sent = send_some(vectors, count, attachment);
    if (sent < 0) {
      if (errno == EINTR) continue;
      blocked_ = errno == EAGAIN;
      starved_ = errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS;
      // What the peer wrote before it went is still to be read; that ends with the end of stream.
      write_broken_ = !blocked_ && !starved_;
      break;
    }
    link_->on_written(static_cast<size_t>(sent));
    taken += static_cast<size_t>(sent);
  }
  if (blocked_) poll_again();
}

ssize_t BusConnection::send_some(const iovec* vectors, int count, int attachment) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors);
  message.msg_iovlen = static_cast<size_t>(count);
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof(int))] = {};
  if (attachment >= 0) {
    message.msg_control = ancillary;
    message.msg_controllen = sizeof ancillary;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &attachment, sizeof attachment);
  }
  return sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
}

void BusConnection::poll_again() {
  poll_.start(
      loop::kReadable | (blocked_ ? loop::kWritable : 0),
      [](void* self, int events) { static_cast<BusConnection*>(self)->on_poll(events); }, this);
}

}  // namespace net
