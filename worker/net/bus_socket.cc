#include "worker/net/bus_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace net {
namespace {

constexpr int kBacklog = 1024;
// As much as the kernel grants: it bounds what a turn can hand over without waiting for the reader.
constexpr int kSendBuffer = 4 * 1024 * 1024;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

base::UniqueFd stream_socket() {
  base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd) setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  return fd;
}

std::string name_of(uint32_t slot) {
  return '/' + std::to_string(slot) + ".sock";
}

sockaddr_un address_of(const std::string& directory, int directory_fd, uint32_t slot) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = directory + name_of(slot);
  if (path.size() >= sizeof address.sun_path) path = "/proc/self/fd/" + std::to_string(directory_fd) + name_of(slot);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool same_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

}  // namespace

BusDirectory::BusDirectory(const std::string& path) : path_(path) {
  std::error_code ignored;  // opening it tells
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) fail("cannot create " + path);
  fd_.reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd_ || fstat(fd_.get(), &status) != 0) fail("cannot open " + path);
  if (status.st_uid != geteuid()) {
    errno = EPERM;
    fail(path + " belongs to another user");
  }
  if ((status.st_mode & 0077) != 0 && fchmod(fd_.get(), 0700) != 0) fail("cannot close " + path + " to others");
}

base::UniqueFd BusDirectory::listen(uint32_t slot) const {
  base::UniqueFd fd = stream_socket();
  const sockaddr_un address = address_of(path_, fd_.get(), slot);
  unlink(address.sun_path);
  if (!fd || bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    fail("cannot listen on " + path_ + name_of(slot));
  }
  return fd;
}

base::UniqueFd BusDirectory::dial(uint32_t slot) const {
  base::UniqueFd fd = stream_socket();
  const sockaddr_un address = address_of(path_, fd_.get(), slot);
  if (!fd || connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      !same_user(fd.get())) {
    return {};
  }
  return fd;
}

base::UniqueFd accept_bus(int listener) {
  base::UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return {};
  if (!same_user(fd.get())) {
    fd.reset();
    errno = EPERM;
    return {};
  }
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  return fd;
}

}  // namespace net
