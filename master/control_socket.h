// The master's control socket, run_dir/mqtt-master.sock (0600): one JSON request a line, one JSON reply a line.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "shared/base/unique_fd.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"

namespace master {

std::string control_socket_path(const std::string& run_dir);

// The serving side. A connection stays open until the client closes it: who waits for its end waits for the master's.
class ControlServer {
 public:
  using Answer = std::function<std::string(const std::string& request)>;
  // REQUIRES: the caller holds the run directory's lock; a socket that is there is a dead master's. Throws Error.
  ControlServer(loop::Loop& loop, std::string path, Answer answer);
  ~ControlServer();
  // Removes the socket; connections stay open until the destructor.
  void close();

 private:
  struct Client;
  void accept_client();
  void on_client(Client& client, int events);
  bool serve(Client& client, int events);

  loop::Loop& loop_;
  std::string path_;
  Answer answer_;
  base::UniqueFd fd_;
  std::map<int, std::unique_ptr<Client>> clients_;
  std::optional<loop::Poll> poll_;
};

// The asking side; blocks.
class ControlClient {
 public:
  // nullopt: nobody listens.
  static std::optional<ControlClient> connect(const std::string& path);
  // Throws Error if there is no answer in time.
  std::string ask(const std::string& request, int timeout_ms);
  // False: the master is still there after that time.
  bool wait_for_end(int timeout_ms);

 private:
  explicit ControlClient(base::UniqueFd fd) : fd_(std::move(fd)) {}
  base::UniqueFd fd_;
};

}  // namespace master
