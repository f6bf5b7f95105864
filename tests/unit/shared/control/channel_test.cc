#include "shared/control/channel.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>

using namespace control;

namespace {

// One end that remembers what it got.
struct End {
  std::vector<Message> messages;
  std::vector<std::vector<base::UniqueFd>> descriptors;
  std::optional<std::string> closed;
  std::unique_ptr<Channel> channel;
  End(loop::Loop& loop, base::UniqueFd fd)
      : channel(
            std::make_unique<Channel>(loop, std::move(fd),
                                      Channel::Handler{[this](const Message& message, std::vector<base::UniqueFd> fds) {
                                                         messages.push_back(message);
                                                         descriptors.push_back(std::move(fds));
                                                       },
                                                       [this](const std::string& reason) {
                                                         closed = reason;
                                                         channel.reset();
                                                       }})) {}
};

struct Fixture {
  loop::Loop loop;
  std::pair<base::UniqueFd, base::UniqueFd> pair = channel_pair();
  void settle() {
    for (int i = 0; i < 5; ++i) loop.run_pending();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "channel: messages arrive whole and in order, both ways") {
  End a(loop, std::move(pair.first));
  End b(loop, std::move(pair.second));
  a.channel->send(Stop{true});
  a.channel->send(Peers{{{1, 2}}});
  b.channel->send(Ready{7});
  settle();
  REQUIRE(b.messages.size() == 2);
  CHECK(b.messages[0] == Message(Stop{true}));
  CHECK(b.messages[1] == Message(Peers{{{1, 2}}}));
  REQUIRE(a.messages.size() == 1);
  CHECK(a.messages[0] == Message(Ready{7}));
}

TEST_CASE_FIXTURE(Fixture, "channel: descriptors travel with their message, and are not inherited") {
  End a(loop, std::move(pair.first));
  End b(loop, std::move(pair.second));
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  base::UniqueFd reading(pipe_ends[0]);
  base::UniqueFd writing(pipe_ends[1]);
  a.channel->send(Stop{});
  a.channel->send(Adopt{3}, std::vector<int>{writing.get()});
  writing.reset();  // the sender's own may go at once
  settle();
  REQUIRE(b.descriptors.size() == 2);
  CHECK(b.descriptors[0].empty());
  REQUIRE(b.descriptors[1].size() == 1);
  CHECK(fcntl(b.descriptors[1][0].get(), F_GETFD) == FD_CLOEXEC);
  CHECK(write(b.descriptors[1][0].get(), "x", 1) == 1);
  char byte = 0;
  CHECK(read(reading.get(), &byte, 1) == 1);
}

TEST_CASE_FIXTURE(Fixture, "channel: what the socket does not take waits, and nothing is lost or reordered") {
  End a(loop, std::move(pair.first));
  base::UniqueFd unread = std::move(pair.second);
  constexpr uint32_t kCount = 2000;
  for (uint32_t i = 0; i < kCount; ++i) a.channel->send(Adopt{i});
  CHECK(a.channel->queued() > 0);
  End b(loop, std::move(unread));
  for (uint32_t i = 0; i < 2 * kCount && b.messages.size() < kCount; ++i) loop.run_pending();
  REQUIRE(b.messages.size() == kCount);
  for (uint32_t i = 0; i < kCount; ++i) REQUIRE(b.messages[i] == Message(Adopt{i}));
  CHECK(a.channel->queued() == 0);
}

TEST_CASE_FIXTURE(Fixture, "channel: the other end's last message is read before its end is reported") {
  End a(loop, std::move(pair.first));
  {
    End b(loop, std::move(pair.second));
    a.channel->send(Stop{});  // never read: a reset, not a plain end
    b.channel->send(Stopping{});
  }
  settle();
  REQUIRE(a.messages.size() == 1);
  CHECK(a.closed.has_value());
}

TEST_CASE_FIXTURE(Fixture, "channel: sending to an end that is gone is reported by the loop, once") {
  End a(loop, std::move(pair.first));
  pair.second.reset();
  a.channel->send(Stop{});
  CHECK_FALSE(a.closed.has_value());
  settle();
  CHECK(a.closed == "closed by the other end");
}

TEST_CASE_FIXTURE(Fixture, "channel: what is no message ends it") {
  End a(loop, std::move(pair.first));
  REQUIRE(send(pair.second.get(), "\x02?", 2, 0) == 2);
  settle();
  CHECK(a.messages.empty());
  CHECK(a.closed == "not a message of this version");
}

TEST_CASE_FIXTURE(Fixture, "channel: a message that is too long ends it") {
  End a(loop, std::move(pair.first));
  const std::string bytes(70000, '\1');
  REQUIRE(send(pair.second.get(), bytes.data(), bytes.size(), 0) == 70000);
  settle();
  CHECK(a.closed == "a message is too long");
}

TEST_CASE_FIXTURE(Fixture, "channel: a message handler may destroy it") {
  End b(loop, std::move(pair.second));
  std::unique_ptr<Channel> channel;
  int got = 0;
  channel = std::make_unique<Channel>(loop, std::move(pair.first),
                                      Channel::Handler{[&](const Message&, std::vector<base::UniqueFd>) {
                                                         ++got;
                                                         channel.reset();
                                                       },
                                                       [](const std::string&) { FAIL("closed"); }});
  b.channel->send(Stop{});
  b.channel->send(Stop{});
  settle();
  CHECK(got == 1);
}
