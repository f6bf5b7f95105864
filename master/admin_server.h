// The admin HTTP server: what monitoring and load balancers ask for, on the address "admin.listen". It only reads.
// libmicrohttpd speaks HTTP; its epoll descriptor is one more of the master's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "shared/base/unique_fd.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"
#include "shared/loop/timer.h"

struct MHD_Daemon;

namespace master {

struct AdminPage {
  unsigned status = 200;
  std::string content_type;
  std::string body;
};

class AdminServer {
 public:
  using Answer = std::function<AdminPage(std::string_view path)>;
  // Takes a listening socket. `answer` is asked for GET and HEAD; other methods get 405. Throws Error.
  AdminServer(loop::Loop& loop, base::UniqueFd listener, Answer answer);

 private:
  struct Stop {
    void operator()(MHD_Daemon* daemon) const;
  };
  void run();

  Answer answer_;
  std::unique_ptr<MHD_Daemon, Stop> daemon_;
  loop::Poll poll_;
  loop::Timer timer_;
};

}  // namespace master
