#include "master/control_socket.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "master/error.h"

using namespace master;

namespace {

struct Fixture {
  std::string directory;
  loop::Loop loop;
  std::optional<ControlServer> server;
  Fixture() {
    char name[] = "/tmp/mm-control-XXXXXX";
    directory = mkdtemp(name);
    server.emplace(loop, path(), [this](const std::string& request) {
      if (request == "end") loop.stop();
      return "you said " + request;
    });
  }
  ~Fixture() {
    server.reset();
    std::filesystem::remove_all(directory);
  }
  std::string path() const { return control_socket_path(directory); }
  // Serves while `fn` blocks in a thread of its own; ends with the request "end".
  template <typename Fn>
  void serve(Fn fn) {
    std::thread client(fn);
    loop.run();
    server.reset();
    loop.run_pending();
    client.join();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "control socket: for its owner alone, and gone afterwards") {
  struct stat status {};
  REQUIRE(stat(path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  server.reset();
  CHECK_FALSE(std::filesystem::exists(path()));
}

TEST_CASE_FIXTURE(Fixture, "control socket: a line gets a line, and the end of the server is seen") {
  serve([this] {
    auto client = ControlClient::connect(path());
    REQUIRE(client.has_value());
    CHECK(client->ask("hello", 5000) == "you said hello");
    CHECK(client->ask(std::string(60000, 'x'), 5000).size() == 60009);
    CHECK_FALSE(client->wait_for_end(10));
    CHECK(client->ask("end", 5000) == "you said end");
    CHECK(client->wait_for_end(5000));
  });
}

TEST_CASE_FIXTURE(Fixture, "control socket: a request without end is cut off") {
  serve([this] {
    auto client = ControlClient::connect(path());
    CHECK_THROWS_AS(client->ask(std::string(70000, 'x'), 5000), Error);
    ControlClient::connect(path())->ask("end", 5000);
  });
}

TEST_CASE_FIXTURE(Fixture, "control socket: nobody listens") {
  server.reset();
  CHECK_FALSE(ControlClient::connect(path()).has_value());
  CHECK_FALSE(ControlClient::connect("/proc/nowhere/socket").has_value());
}

TEST_CASE_FIXTURE(Fixture, "control socket: a socket that a dead master left is replaced") {
  std::filesystem::create_hard_link(path(), path() + ".kept");
  server.reset();
  std::filesystem::rename(path() + ".kept", path());
  CHECK_FALSE(ControlClient::connect(path()).has_value());
  CHECK_NOTHROW(server.emplace(loop, path(), [](const std::string&) { return ""; }));
}
