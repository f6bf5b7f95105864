#include "shared/control/channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace control {
namespace {

constexpr size_t kMaxMessage = 64 * 1024;
constexpr size_t kMaxDescriptors = 253;  // SCM_MAX_FD

// errno, or 0.
int send_packet(int fd, const std::string& bytes, const std::vector<base::UniqueFd>& descriptors) {
  iovec data{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char ancillary[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (!descriptors.empty()) {
    header.msg_control = ancillary;
    header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    for (size_t i = 0; i < descriptors.size(); ++i) {
      const int descriptor = descriptors[i].get();
      std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &descriptor, sizeof(int));
    }
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(fd, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

std::vector<base::UniqueFd> take_descriptors(msghdr& header) {
  std::vector<base::UniqueFd> descriptors;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(descriptor);
    }
  }
  return descriptors;
}

}  // namespace

Channel::Channel(loop::Loop& loop, base::UniqueFd fd, Handler handler)
    : fd_(std::move(fd)), handler_(std::move(handler)), poll_(loop, fd_.get()) {
  poll_again();
}

void Channel::send(const Message& message, std::span<const int> descriptors) {
  if (closed_) return;
  Outgoing outgoing{encode(message), {}};
  for (const int descriptor : descriptors) {
    outgoing.descriptors.emplace_back(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  }
  queue_.push_back(std::move(outgoing));
  flush();
}

void Channel::flush() {
  while (!queue_.empty()) {
    const int error = send_packet(fd_.get(), queue_.front().bytes, queue_.front().descriptors);
    if (error == EAGAIN || error == ENOBUFS) break;
    if (error != 0) {
      // The reading side finds out what the matter is and reports it, outside of the caller's stack.
      queue_.clear();
      break;
    }
    queue_.pop_front();
  }
  poll_again();
}

void Channel::poll_again() {
  poll_.start(
      loop::kReadable | (queue_.empty() ? 0 : loop::kWritable),
      [](void* self, int events) { static_cast<Channel*>(self)->on_poll(events); }, this);
}

void Channel::on_poll(int events) {
  if ((events & loop::kWritable) != 0) flush();
  // One message a turn: the handler may destroy this object, and polling is level-triggered.
  if ((events & (loop::kReadable | loop::kError)) != 0) {
    if ((events & loop::kError) != 0) poll_again();
    receive();
  }
}

void Channel::receive() {
  std::string bytes(kMaxMessage, '\0');
  iovec data{bytes.data(), bytes.size()};
  alignas(cmsghdr) char ancillary[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = ancillary;
  header.msg_controllen = sizeof ancillary;
  const ssize_t received = recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC);
  if (received < 0) {
    // A reset (the other end closed with messages unread) comes before what it sent; its end is seen behind that.
    if (errno != EAGAIN && errno != EINTR && errno != ECONNRESET) close(std::strerror(errno));
    return;
  }
  std::vector<base::UniqueFd> descriptors = take_descriptors(header);
  if (received == 0) return close("closed by the other end");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return close("a message is too long");
  bytes.resize(static_cast<size_t>(received));
  const std::optional<Message> message = decode(bytes);
  if (!message) return close("not a message of this version");
  const auto on_message = handler_.on_message;  // outlives this object if it destroys it
  on_message(*message, std::move(descriptors));
}

void Channel::close(const std::string& reason) {
  closed_ = true;
  queue_.clear();
  poll_.stop();
  const auto on_closed = std::move(handler_.on_closed);
  on_closed(reason);
}

std::pair<base::UniqueFd, base::UniqueFd> channel_pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  return {base::UniqueFd(fds[0]), base::UniqueFd(fds[1])};
}

}  // namespace control
