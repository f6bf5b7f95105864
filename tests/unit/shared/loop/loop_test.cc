// Every test ends with the Loop's destructor, which CHECKs that no handle is left.
#include "shared/loop/loop.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <thread>

#include "shared/base/unique_fd.h"
#include "shared/loop/async.h"
#include "shared/loop/hook.h"
#include "shared/loop/poll.h"
#include "shared/loop/signal.h"
#include "shared/loop/timer.h"

using namespace loop;

namespace {

struct SocketPair {
  base::UniqueFd a;
  base::UniqueFd b;
  SocketPair() {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
};

// Remembers what a Poll reported.
struct Seen {
  int calls = 0;
  int events = 0;
  static void note(void* self, int events) {
    ++static_cast<Seen*>(self)->calls;
    static_cast<Seen*>(self)->events = events;
  }
};

}  // namespace

TEST_CASE("loop: runs to its end when nothing is active") {
  Loop loop;
  loop.run();
  CHECK_FALSE(loop.run_once());
}

TEST_CASE("loop: stop ends run while a timer is active") {
  Loop loop;
  Timer timer(loop);
  int calls = 0;
  timer.start(0, 1, [&] {
    if (++calls == 3) loop.stop();
  });
  loop.run();
  CHECK(calls == 3);
  CHECK(timer.active());
}

TEST_CASE("timer: fires once without repeat") {
  Loop loop;
  Timer timer(loop);
  int calls = 0;
  timer.start(0, 0, [&] { ++calls; });
  loop.run();
  CHECK(calls == 1);
  CHECK_FALSE(timer.active());
}

TEST_CASE("timer: a callback may start its own timer again with another callback") {
  Loop loop;
  Timer timer(loop);
  std::string order;
  timer.start(0, 0, [&] {
    order += 'a';
    timer.start(0, 0, [&] { order += 'b'; });
  });
  loop.run();
  CHECK(order == "ab");
}

TEST_CASE("timer: a callback may destroy its own timer and still use what it captured") {
  Loop loop;
  std::optional<Timer> timer(std::in_place, loop);
  std::string captured(100, 'x');
  size_t length = 0;
  timer->start(0, 1, [&, captured] {
    timer.reset();
    length = captured.size();
  });
  loop.run();
  CHECK(length == 100);
}

TEST_CASE("timer: a stopped one does not fire, an unreferenced one does not keep the loop going") {
  Loop loop;
  Timer stopped(loop);
  Timer background(loop);
  stopped.start(0, 0, [] { FAIL("fired"); });
  stopped.stop();
  background.start(100000, 0, [] { FAIL("fired"); });
  background.unref();
  loop.run();
}

TEST_CASE("poll: reports readable and stops when told") {
  Loop loop;
  SocketPair pair;
  Seen seen;
  Poll poll(loop, pair.a.get());
  poll.start(kReadable, Seen::note, &seen);
  loop.run_pending();
  CHECK(seen.calls == 0);
  REQUIRE(write(pair.b.get(), "x", 1) == 1);
  loop.run_once();
  CHECK(seen.calls == 1);
  CHECK(seen.events == kReadable);
  poll.stop();
  loop.run_pending();
  CHECK(seen.calls == 1);
}

TEST_CASE("poll: is level-triggered, and adds writable when asked for") {
  Loop loop;
  SocketPair pair;
  Seen seen;
  Poll poll(loop, pair.a.get());
  REQUIRE(write(pair.b.get(), "x", 1) == 1);
  poll.start(kReadable | kWritable, Seen::note, &seen);
  loop.run_once();
  loop.run_once();
  CHECK(seen.calls == 2);
  CHECK(seen.events == (kReadable | kWritable));
}

TEST_CASE("poll: a peer that is gone makes it readable") {
  Loop loop;
  SocketPair pair;
  Seen seen;
  Poll poll(loop, pair.a.get());
  poll.start(kReadable, Seen::note, &seen);
  pair.b.reset();
  loop.run_once();
  CHECK((seen.events & kReadable) != 0);
}

TEST_CASE("poll: an error is reported once, and start() polls again") {
  Loop loop;
  SocketPair pair;
  Seen seen;
  Poll poll(loop, pair.a.get());
  REQUIRE(write(pair.a.get(), "x", 1) == 1);
  pair.b.reset();  // with unread bytes: ECONNRESET at our end
  poll.start(kReadable, Seen::note, &seen);
  loop.run_once();
  CHECK(seen.events == kError);
  CHECK_FALSE(loop.run_pending());
  poll.start(kReadable, Seen::note, &seen);
  char byte = 0;
  CHECK(read(pair.a.get(), &byte, 1) == -1);
  loop.run_once();
  CHECK(seen.calls == 2);
}

TEST_CASE("poll: a callback may destroy the poll and close its descriptor") {
  Loop loop;
  struct Owner {
    SocketPair pair;
    std::optional<Poll> poll;
  } owner;
  owner.poll.emplace(loop, owner.pair.a.get());
  owner.poll->start(
      kWritable,
      [](void* context, int) {
        static_cast<Owner*>(context)->poll.reset();
        static_cast<Owner*>(context)->pair.a.reset();
      },
      &owner);
  loop.run();
  CHECK_FALSE(owner.poll.has_value());
}

TEST_CASE("poll: the number of a closed descriptor can be polled anew at once") {
  Loop loop;
  SocketPair first;
  Seen seen;
  std::optional<Poll> poll(std::in_place, loop, first.a.get());
  poll->start(kReadable, Seen::note, &seen);
  const int number = first.a.get();
  poll.reset();
  first.a.reset();
  SocketPair second;
  REQUIRE(second.a.get() == number);
  poll.emplace(loop, number);
  poll->start(kReadable, Seen::note, &seen);
  REQUIRE(write(second.b.get(), "x", 1) == 1);
  loop.run_once();
  CHECK(seen.calls == 1);
}

TEST_CASE("poll: a regular file is refused") {
  Loop loop;
  const base::UniqueFd file(open("/proc/self/exe", O_RDONLY));
  CHECK_THROWS_AS(Poll(loop, file.get()), std::system_error);
}

TEST_CASE("signal: is heard on the loop, by all who listen") {
  Loop loop;
  int heard = 0;
  Signal one(loop, SIGUSR1, [&] { ++heard; });
  Signal two(loop, SIGUSR1, [&] { ++heard; });
  Timer active(loop);  // signals do not keep the loop going
  active.start(100000, 0, [] {});
  raise(SIGUSR1);
  loop.run_pending();
  CHECK(heard == 2);
}

TEST_CASE("hooks: prepare, events and check come in this order each turn") {
  Loop loop;
  std::string order;
  Prepare prepare(loop);
  Check check(loop);
  Idle idle(loop);
  prepare.start([&] { order += 'p'; });
  check.start([&] { order += 'c'; });
  int slices = 0;
  idle.start([&] {
    order += 'i';
    if (++slices == 2) idle.stop();
  });
  CHECK(idle.active());
  loop.run();
  CHECK(order == "ipcipc");
  CHECK_FALSE(idle.active());
}

// --- async ---

TEST_CASE("loop: an async sent from another thread wakes the loop") {
  Loop loop;
  Timer keeps_going(loop);
  keeps_going.start(60'000, 0, [] {});
  int calls = 0;
  Async async(loop, [&] {
    ++calls;
    loop.stop();
  });
  std::thread thread([&] { async.send(); });
  loop.run();
  thread.join();
  CHECK(calls == 1);
}

TEST_CASE("loop: asyncs sent before the loop gets to them are one call") {
  Loop loop;
  Timer keeps_going(loop);
  keeps_going.start(60'000, 0, [] {});
  int calls = 0;
  Async async(loop, [&] { ++calls; });
  async.send();
  async.send();
  CHECK(loop.run_pending());
  CHECK(calls == 1);
}

TEST_CASE("loop: an async may be destroyed in its callback, and does not keep the loop going") {
  Loop loop;
  std::optional<Async> async;
  std::optional<Timer> keeps_going(loop);
  keeps_going->start(60'000, 0, [] {});
  async.emplace(loop, [&] {
    async.reset();
    keeps_going.reset();
  });
  async->send();
  loop.run();
  CHECK_FALSE(async.has_value());
  Async another(loop, [] {});
  CHECK_FALSE(loop.run_once());
}
