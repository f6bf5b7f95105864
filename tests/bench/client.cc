#include "tests/bench/client.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace bench {

bool Client::flush() {
  while (sent_ < out_.size()) {
    const ssize_t written = send(fd(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw_errno("send");
      blocked_ = true;
      return false;
    }
    sent_ += static_cast<size_t>(written);
  }
  out_.clear();
  sent_ = 0;
  blocked_ = false;
  return true;
}

bool Client::read_into(ReadBuffer& buffer, std::string_view& bytes) {
  const size_t kept = unfinished_.size();
  if (kept >= ReadBuffer::kSize) throw std::runtime_error("a packet is larger than the read buffer");
  std::memcpy(buffer.data(), unfinished_.data(), kept);
  ssize_t got = recv(fd(), buffer.data() + kept, ReadBuffer::kSize - kept, 0);
  if (got < 0) {
    if (errno == ECONNRESET) return false;
    if (errno != EAGAIN && errno != EINTR) throw_errno("recv");
    got = 0;
  } else if (got == 0) {
    return false;
  }
  bytes = {buffer.data(), kept + static_cast<size_t>(got)};
  return true;
}

}  // namespace bench
