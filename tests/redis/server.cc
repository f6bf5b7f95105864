#include "tests/redis/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "shared/base/unique_fd.h"
#include "shared/redis/redis_command.h"

namespace test {
namespace {

sockaddr_in local(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

base::UniqueFd try_connect(uint16_t port) {
  base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = local(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

void say(int fd, const redis::Command& command) {
  std::string out;
  command.write_to(out);
  for (size_t sent = 0; sent < out.size();) {
    const ssize_t n = ::send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("cannot write to redis-server");
    sent += static_cast<size_t>(n);
  }
}

redis::Reply ask(int fd, redis::ReplyReader& reader, const redis::Command& command) {
  say(fd, command);
  while (true) {
    if (std::optional<redis::Reply> reply = reader.next()) return std::move(*reply);
    char buffer[65536];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0 || !reader.error().empty()) throw std::runtime_error("redis-server has closed the connection");
    reader.feed({buffer, static_cast<size_t>(n)});
  }
}

}  // namespace

uint16_t free_port() {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = local(0);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("there is no free port");
  }
  return ntohs(address.sin_port);
}

RedisServer::RedisServer(std::vector<std::string> arguments, bool sentinel)
    : arguments_(std::move(arguments)), sentinel_(sentinel), port_(free_port()) {
  start();
}

RedisServer::~RedisServer() {
  kill();
}

void RedisServer::start() {
  // Sentinel rewrites its file.
  const std::string file = directory() + "/redis.conf";
  if (std::ofstream out(file, std::ios::app); !sentinel_ || out.tellp() == 0) {
    out << "bind 127.0.0.1\nport " << port_ << "\ndir " << directory() << "\nlogfile " << directory() << "/log\n";
  }
  std::vector<std::string> line = {"redis-server", file};
  if (sentinel_) {
    line.push_back("--sentinel");
  } else {
    line.insert(line.end(), {"--save", "", "--appendonly", "no"});
  }
  line.insert(line.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  for (std::string& argument : line) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  for (int tries = 0; tries < 2000; ++tries) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("redis-server does not start: see its log");
    }
    if (try_connect(port_)) return;
    ::usleep(10'000);
  }
  throw std::runtime_error("redis-server does not listen");
}

void RedisServer::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::freeze() {
  ::kill(pid_, SIGSTOP);
}
void RedisServer::thaw() {
  ::kill(pid_, SIGCONT);
}

redis::Reply RedisServer::command(std::initializer_list<std::string_view> arguments) {
  return command_after({"PING"}, arguments);
}

redis::Reply RedisServer::command_after(std::initializer_list<std::string_view> before,
                                        std::initializer_list<std::string_view> arguments) {
  const base::UniqueFd fd = try_connect(port_);
  if (!fd) throw std::runtime_error("cannot connect to redis-server");
  redis::ReplyReader reader(size_t{1} << 30);
  ask(fd.get(), reader, redis::Command(before));
  return ask(fd.get(), reader, redis::Command(arguments));
}

base::UniqueFd RedisServer::begin(std::initializer_list<std::string_view> arguments) {
  base::UniqueFd fd = try_connect(port_);
  say(fd.get(), redis::Command(arguments));
  return fd;
}

std::vector<std::string> RedisServer::keys() {
  std::vector<std::string> all;
  for (const redis::Reply& key : command({"KEYS", "*"}).items) all.push_back(key.text);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace test
