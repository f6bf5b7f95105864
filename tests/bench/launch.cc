#include "tests/bench/launch.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>

#include "tests/bench/handshake.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/socket.h"

namespace bench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kStartNanoseconds = 120'000'000'000;

std::string log_end(const fs::path& log) {
  std::ifstream file(log);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (text.ends_with('\n')) text.pop_back();
  constexpr size_t kMost = 2000;
  return text.size() > kMost ? text.substr(text.size() - kMost) : text;
}

void wait_for(int probes, Process& process, const fs::path& log, const std::function<void(int)>& probe) {
  const uint64_t deadline = now_ns() + kStartNanoseconds;
  for (int answered = 0; answered < probes;) {
    try {
      probe(answered);
      ++answered;
    } catch (const std::exception& error) {
      if (!process.running()) throw std::runtime_error("a server ended at once: " + log_end(log));
      if (now_ns() > deadline) throw std::runtime_error(std::string(error.what()) + ": " + log_end(log));
      usleep(2000);
    }
    if (interrupted()) throw std::runtime_error("interrupted");
  }
}

}  // namespace

Directory::Directory() {
  std::string pattern = fs::temp_directory_path() / "mqtt-bench.XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw_errno("mkdtemp");
  path_ = pattern;
}

Directory::~Directory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path Directory::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name) << text;
  return path_ / name;
}

void wait_for_connack(uint16_t port, int probes, Protocol protocol, Process& process, const fs::path& log) {
  wait_for(probes, process, log,
           [&](int number) { open_client(port, "probe" + std::to_string(number), {}, 0, protocol); });
}

void wait_for_pong(uint16_t port, Process& process, const fs::path& log) {
  wait_for(1, process, log, [&](int) {
    const Fd socket = connect_loopback(port);
    const std::string_view ping = "PING\r\n";
    if (send(socket.get(), ping.data(), ping.size(), MSG_NOSIGNAL) < 0) throw_errno("send");
    char answer[7];
    if (recv(socket.get(), answer, sizeof answer, MSG_WAITALL) != sizeof answer ||
        std::string_view(answer, sizeof answer) != "+PONG\r\n") {
      throw std::runtime_error("no PONG from Redis");
    }
  });
}

}  // namespace bench
