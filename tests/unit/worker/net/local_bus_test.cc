#include "worker/net/local_bus.h"

#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/shared_buffer.h"
#include "tests/unit/worker/net/bus_fixture.h"

using net::Hello;
using net_test::BusFixture;
using net_test::Frames;

namespace {

void attach(bus::Link& link, std::string_view body, std::string_view content) {
  const base::BufferRef buffer = base::SharedBuffer::shareable(content.size());
  std::memcpy(buffer->data(), content.data(), content.size());
  std::memcpy(link.append(1, bus::kAckSoon, body.size(), buffer, content.size()), body.data(), body.size());
}

// Sends a hello by hand and waits for the other end to hang up.
bool refused(BusFixture& f, uint32_t slot, const Hello::Bytes& hello) {
  const base::UniqueFd fd = f.dial(slot);
  REQUIRE(send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(hello.size()));
  char byte = 0;
  return f.until([&] { return recv(fd.get(), &byte, 1, 0) == 0 || errno == ECONNRESET; });
}

}  // namespace

TEST_CASE("bus_hello: its bytes are pinned") {
  const Hello hello{{3, 0x1122334455667788}, {2, 7}, 0x0102};
  const unsigned char expected[] = {
      'M',  'Q',  'M',  'B',  bus::kBusVersion,
      0,    0,    0,  // magic, version
      3,    0,    0,    0,    2,
      0,    0,    0,  // slots
      0x88, 0x77, 0x66, 0x55, 0x44,
      0x33, 0x22, 0x11,  // our incarnation
      7,    0,    0,    0,    0,
      0,    0,    0,  // the other's
      2,    1,    0,    0,    0,
      0,    0,    0,  // received
  };
  Hello::Bytes bytes = net::encode(hello);
  CHECK(std::memcmp(bytes.data(), expected, sizeof expected) == 0);
  CHECK(net::decode(bytes) == hello);
  ++bytes[4];
  CHECK(!net::decode(bytes));
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: frames travel both ways") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  a.say(b, "waits for the connection");
  announce();
  REQUIRE(connected(a, b));
  b.say(a, "back");
  CHECK(until([&] { return b.with(a).frames.size() == 1 && a.with(b).frames.size() == 1; }));
  CHECK(b.with(a).frames == Frames{"waits for the connection"});
  CHECK(a.with(b).frames == Frames{"back"});
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a turn that has enough to do takes little more of a peer, and not for ever") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  size_t most = 0;
  const auto usual = end_of_turn;
  end_of_turn = [&] {
    most = std::max(most, b.endpoint.taken);
    usual();
  };
  constexpr size_t kFrames = 20'000, kSize = 100;
  const auto all_come = [&](size_t frames) { return until([&] { return b.with(a).bytes == frames * kSize; }); };
  for (size_t i = 0; i < kFrames; ++i) a.say(b, std::string(kSize, 'x'));
  REQUIRE(all_come(kFrames));
  CHECK(most > 100'000);  // nothing holds it up

  b.endpoint.enough = 1;
  a.say(b, std::string(kSize, 'x'));  // the first read may still be a large one
  REQUIRE(all_come(kFrames + 1));
  most = 0;
  for (size_t i = 0; i < kFrames; ++i) a.say(b, std::string(kSize, 'x'));
  REQUIRE(all_come(2 * kFrames + 1));
  CHECK(most <= 256 * 1024);
  most = 0;
  for (size_t i = 0; i < kFrames; ++i) a.say(b, std::string(kSize, 'x'));
  REQUIRE(all_come(3 * kFrames + 1));
  CHECK(most <= 8 * 1024);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: the directory is nobody else's") {
  join(0, 10);
  struct stat status {};
  REQUIRE(stat(directory.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a path too long for a socket's address works") {
  directory += std::string(120, 'x');
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  CHECK(connected(a, b));
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: the dialler tries until the other one listens") {
  Member& b = join(1, 11);
  b.bus->set_peers({{0, 10}, {1, 11}});
  turns(10);
  Member& a = join(0, 10);
  announce();
  CHECK(connected(a, b));
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: the dialler tries until the other one has heard of it") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  b.bus->set_peers({{0, 10}, {1, 11}});
  turns(10);
  CHECK(!a.link(b).is_connected());
  announce();
  CHECK(connected(a, b));
  CHECK(b.with(a).disconnects == 0);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a mesh of many") {
  std::vector<Member*> all;
  for (uint32_t slot = 0; slot < 6; ++slot) all.push_back(&join(slot, 100 + slot));
  announce();
  for (Member* from : all) {
    for (Member* to : all) {
      if (from != to) from->say(*to, "hello");
    }
  }
  for (Member* from : all) {
    for (Member* to : all) {
      if (from != to) CHECK(until([&] { return to->with(*from).frames == Frames{"hello"}; }));
    }
  }
  CHECK(all[0]->bus->connected() == 5);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: more than the socket takes goes out bit by bit, and is reported") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  const std::string large(30'000'000, 'x');
  a.say(b, large);
  a.say(b, "behind it");
  a.endpoint.flush(*a.bus);
  CHECK(a.link(b).waiting());
  CHECK(!a.bus->drained());
  CHECK(until([&] { return b.with(a).frames.size() == 2; }));
  CHECK((b.with(a).frames[0] == large));
  CHECK(a.with(b).progress > 0);
  CHECK(a.bus->drained());
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: attachments arrive with their frames") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  const size_t descriptors = net_test::open_descriptors();
  for (int i = 0; i < 100; ++i) {
    const std::string n = std::to_string(i);
    a.say(b, "before " + n);
    attach(a.link(b), "attached " + n, "content " + n);
  }
  CHECK(until([&] { return b.with(a).frames.size() == 200; }));
  for (size_t i = 0; i < 100; ++i) {
    const std::string n = std::to_string(i);
    CHECK(b.with(a).frames[2 * i] == "before " + n);
    CHECK(b.with(a).frames[2 * i + 1] == "attached " + n + "@content " + n);
  }
  CHECK(until([&] { return net_test::open_descriptors() == descriptors; }));
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a broken connection is made again, and nothing is lost") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  Frames sent;
  for (int i = 0; i < 2000; ++i) {
    sent.push_back(std::to_string(i));
    a.say(b, sent.back());
    b.say(a, sent.back());
    if (i % 400 == 200) {
      REQUIRE(connected(a, b));
      turn();
      // A connection of somebody who says it is b: the one that was there is replaced, which b notices.
      Hello::Bytes hello = net::encode({b.self, a.self, b.link(a).received()});
      const base::UniqueFd fd = dial(0);
      REQUIRE(send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(hello.size()));
      const int before = b.with(a).disconnects;
      CHECK(until([&] { return b.with(a).disconnects > before; }));
    }
  }
  CHECK(until([&] { return a.with(b).frames.size() == sent.size() && b.with(a).frames.size() == sent.size(); }));
  CHECK(a.with(b).frames == sent);
  CHECK(b.with(a).frames == sent);
  CHECK(a.with(b).connects > 5);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a dead process is read to its end before it is gone") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  // As much as the socket holds, and more than one turn reads.
  for (int i = 0; i < 1000; ++i) b.say(a, std::string(1000, 'x'));
  b.endpoint.flush(*b.bus);
  const uint64_t written = b.link(a).written();
  REQUIRE(written > 100'000);
  kill(b);
  announce();
  CHECK(!a.with(b).gone);
  CHECK(until([&] { return a.with(b).gone; }));
  CHECK(a.link(b).received() == written - written % 1008);
  CHECK(a.with(b).disconnects == 1);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a dead process that writes no more is gone although we were writing to it") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  b.say(a, "last words");
  b.endpoint.flush(*b.bus);
  kill(b);
  a.say(b, std::string(10'000'000, 'x'));
  a.endpoint.flush(*a.bus);
  announce();
  CHECK(until([&] { return a.with(b).gone; }));
  CHECK(a.with(b).frames == Frames{"last words"});
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a process that was never reached is gone at once") {
  Member& b = join(1, 11);
  b.bus->set_peers({{0, 10}, {1, 11}, {2, 12}});
  b.bus->set_peers({{1, 11}});
  CHECK(b.endpoint.known({0, 10}).gone);
  CHECK(b.endpoint.known({2, 12}).gone);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a connection lost before the master knows why is not the end") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  kill(a);
  CHECK(until([&] { return b.with(a).disconnects == 1; }));
  turns(5);
  CHECK(!b.with(a).gone);
  announce();
  CHECK(b.with(a).gone);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a replacement in the same slot is another process") {
  for (const uint32_t replaced : {0U, 1U}) {
    CAPTURE(replaced);
    Member& a = join(0, 10 + replaced * 100);
    Member& b = join(1, 11 + replaced * 100);
    announce();
    REQUIRE(connected(a, b));
    Member& old = replaced == 0 ? a : b;
    Member& other = replaced == 0 ? b : a;
    old.say(other, "old");
    old.endpoint.flush(*old.bus);
    kill(old);
    Member& fresh = join(replaced, 20 + replaced * 100);
    announce();
    CAPTURE(replaced);
    REQUIRE(connected(fresh, other));
    fresh.say(other, "new");
    CHECK(until([&] { return other.with(fresh).frames == Frames{"new"}; }));
    CHECK(other.with(old).frames == Frames{"old"});
    CHECK(other.with(old).gone);
    kill(fresh);
    kill(other);
  }
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: who has no business here is refused") {
  Member& a = join(1, 11);
  a.bus->set_peers({{0, 10}, {1, 11}, {2, 12}});
  Hello::Bytes garbage{};
  CHECK(refused(*this, 1, garbage));
  CHECK(refused(*this, 1, net::encode({{2, 99}, {1, 11}, 0})));    // an incarnation nobody named
  CHECK(refused(*this, 1, net::encode({{2, 12}, {1, 10}, 0})));    // meant for the one before us
  CHECK(refused(*this, 1, net::encode({{0, 10}, {1, 11}, 0})));    // we call that one
  CHECK(refused(*this, 1, net::encode({{2, 12}, {1, 11}, 555})));  // has what we never said
  CHECK(a.bus->connected() == 0);
  turns(2);
  CHECK(!a.endpoint.known({2, 12}).gone);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: who hangs up without a word is forgotten") {
  Member& a = join(0, 10);
  const size_t descriptors = net_test::open_descriptors();
  for (int i = 0; i < 10; ++i) dial(0);
  turns(30);
  CHECK(net_test::open_descriptors() == descriptors);
  CHECK(a.bus->connected() == 0);
}

TEST_CASE_FIXTURE(BusFixture, "local_bus: a peer that sends garbage is dropped, and tried again") {
  Member& a = join(0, 10);
  Member& b = join(1, 11);
  announce();
  REQUIRE(connected(a, b));
  b.say(a, "?", 99);
  CHECK(until([&] { return a.with(b).connects >= 2; }));
  CHECK(a.with(b).disconnects >= 1);
}
