#include "master/control_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "master/error.h"
#include "shared/base/check.h"

namespace master {
namespace {

constexpr size_t kMaxClients = 32;
constexpr size_t kMaxRequest = 64 * 1024;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw Error(path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

base::UniqueFd new_socket(int flags) {
  base::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) throw system_error("socket");
  return fd;
}

// Waits for something to read. False: nothing came until `deadline`.
bool wait_readable(int fd, std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) > 0;
}

}  // namespace

std::string control_socket_path(const std::string& run_dir) {
  return run_dir + "/mqtt-master.sock";
}

struct ControlServer::Client {
  ControlServer& server;
  base::UniqueFd fd;
  std::string in;
  std::string out;
  loop::Poll poll;
  Client(ControlServer& s, base::UniqueFd f) : server(s), fd(std::move(f)), poll(s.loop_, fd.get()) { wait(); }
  void wait() {
    poll.start(
        out.empty() ? loop::kReadable : loop::kWritable,
        [](void* self, int events) {
          auto* client = static_cast<Client*>(self);
          client->server.on_client(*client, events);
        },
        this);
  }
};

ControlServer::ControlServer(loop::Loop& loop, std::string path, Answer answer)
    : loop_(loop), path_(std::move(path)), answer_(std::move(answer)), fd_(new_socket(SOCK_NONBLOCK)) {
  const sockaddr_un address = address_of(path_);
  unlink(path_.c_str());
  const mode_t mask = umask(0177);
  const int bound = bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0 || listen(fd_.get(), 16) != 0) throw system_error("cannot listen on " + path_);
  poll_.emplace(loop_, fd_.get());
  poll_->start(
      loop::kReadable, [](void* self, int) { static_cast<ControlServer*>(self)->accept_client(); }, this);
}

ControlServer::~ControlServer() {
  close();
}

void ControlServer::close() {
  if (!fd_) return;
  unlink(path_.c_str());
  poll_.reset();
  fd_.reset();
}

void ControlServer::accept_client() {
  base::UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd || clients_.size() >= kMaxClients) return;
  const int number = fd.get();
  clients_[number] = std::make_unique<Client>(*this, std::move(fd));
}

void ControlServer::on_client(Client& client, int events) {
  if (serve(client, events)) {
    client.wait();
  } else {
    clients_.erase(client.fd.get());
  }
}

// False: the connection is done with.
bool ControlServer::serve(Client& client, int events) {
  if ((events & loop::kError) != 0) return false;
  if ((events & loop::kReadable) != 0) {
    char buffer[4096];
    const ssize_t got = recv(client.fd.get(), buffer, sizeof buffer, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got > 0) client.in.append(buffer, static_cast<size_t>(got));
    if (client.in.size() > kMaxRequest) return false;
    for (size_t end = 0; (end = client.in.find('\n')) != std::string::npos; client.in.erase(0, end + 1)) {
      client.out += answer_(client.in.substr(0, end)) + '\n';
    }
  }
  while (!client.out.empty()) {
    const ssize_t sent = send(client.fd.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    client.out.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

std::optional<ControlClient> ControlClient::connect(const std::string& path) {
  const sockaddr_un address = address_of(path);
  base::UniqueFd fd = new_socket(0);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return ControlClient(std::move(fd));
  }
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return std::nullopt;
  throw system_error("cannot connect to " + path);
}

std::string ControlClient::ask(const std::string& request, int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  const std::string line = request + '\n';
  if (send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    throw system_error("cannot ask the master");
  }
  std::string reply;
  while (!reply.ends_with('\n')) {
    if (!wait_readable(fd_.get(), deadline)) throw Error("the master does not answer");
    char buffer[4096];
    const ssize_t got = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got <= 0) throw Error("the master has closed the connection");
    reply.append(buffer, static_cast<size_t>(got));
  }
  reply.pop_back();
  return reply;
}

bool ControlClient::wait_for_end(int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (wait_readable(fd_.get(), deadline)) {
    char buffer[256];
    if (recv(fd_.get(), buffer, sizeof buffer, 0) <= 0) return true;
  }
  return false;
}

}  // namespace master
