#include "worker/broker/node_stream.h"

#include <doctest/doctest.h>

#include <optional>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "worker/broker/node_parts.h"

namespace {

using broker::NodeFrame;
using cluster::Status;

// One node's inbox. Nothing else of a hub is asked for.
class InboxHub final : public cluster::Hub {
 public:
  std::vector<cluster::Entry> entries;
  uint64_t trimmed = 0;
  Done sent;  // of the last batch, which is put into the inbox by answer()
  std::string batch;

  void answer(Status status, bool put = true) {
    if (put) entries.push_back({entries.size() + 1, "a", 1, batch});
    std::exchange(sent, {})(status);
  }

  bool up() const override { return true; }
  void send(const std::string&, uint64_t, std::string frames, Done done) override {
    batch = std::move(frames);
    sent = std::move(done);
  }
  void read(const std::string&, uint64_t after, size_t, Answer<std::vector<cluster::Entry>> done) override {
    if (after < entries.size()) done(Status::ok, {entries[after]});
  }
  void trim(uint64_t id, Done) override { trimmed = id; }

  void start(Events&) override {}
  void run_completions() override {}
  void flush() override {}
  size_t outstanding() const override { return 0; }
  void join(const std::string&, uint64_t, uint64_t, Answer<cluster::Membership>) override {}
  void renew(uint64_t, Answer<cluster::Membership>) override {}
  void leave(Done) override {}
  void datagram(const std::string&, std::string_view) override {}
  void claim(std::string_view, uint64_t, Answer<cluster::Claimed>) override {}
  void hold(std::string_view, uint64_t, Answer<cluster::Held>) override {}
  void withdraw(std::string_view, uint64_t, Done) override {}
  void release(std::string_view, uint64_t, Done) override {}
  void holder(std::string_view, Answer<std::string>) override {}
  void before(std::string_view, uint64_t, Answer<cluster::Claimed>) override {}
  uint32_t directory_parts() const override { return 1; }
  void mine(uint32_t, Answer<std::vector<Mine>>) override {}
  void retain(std::string_view, std::string_view, uint64_t, Answer<uint64_t>) override {}
  void retain_again(const cluster::Retained&, Answer<uint64_t>) override {}
  void changes(uint64_t, Answer<cluster::Changes>) override {}
  void snapshot(uint64_t, Answer<cluster::Changes>) override {}
  void begin_copy(uint32_t, uint64_t, Done) override {}
  void copy(uint32_t, uint64_t, const store::Batch&, Done) override {}
  void finish_copy(uint32_t, uint64_t, Done) override {}
  void keep_copies(uint32_t, Done) override {}
  void read_copy(const std::string&, uint64_t, Answer<Records>) override {}
  void adopt(const std::string&, uint64_t, uint64_t, Answer<std::string>) override {}
  void bury(Done) override {}
};

// A stream, and who reads what it has put into the inbox.
struct World {
  InboxHub hub;
  uint64_t serials = 0;
  broker::NodeStream stream{"b", 16, serials};
  broker::NodeParts parts;
  std::vector<std::string> got;  // whole frames
  bool fine = true;
  uint64_t held = 0;  // the entry of the last whole frame, if it is to be held
  bool hold = false;
  broker::NodeInbox inbox{hub, [this](const cluster::Entry& entry, broker::NodeInbox& from) { take(entry, from); }};

  void take(const cluster::Entry& entry, broker::NodeInbox& from) {
    parts.on_gateway(entry.gateway, from);
    fine = fine && broker::for_each_node_frame(entry.frames, [&](NodeFrame type, std::string_view body) {
             if (type != NodeFrame::part) return got.emplace_back(body), true;
             base::BufferRef whole;
             if (!parts.take(entry.gateway, body, from, whole)) return false;
             if (!whole) return true;
             if (hold) held = from.hold();
             return broker::for_each_node_frame({whole->data(), whole->capacity()},
                                                [&](NodeFrame, std::string_view frame) {
                                                  got.emplace_back(frame);
                                                  return true;
                                                });
           });
  }
  // Sends what there is; false: there is nothing.
  bool flush() {
    stream.flush(hub, [this](const std::string&, uint64_t number, Status status) {
      const auto done = stream.on_sent(number, status);
      tickets.insert(tickets.end(), done.begin(), done.end());
    });
    return static_cast<bool>(hub.sent);
  }
  void send_all() {
    while (flush()) hub.answer(Status::ok);
  }
  void read_all() {
    if (!inbox.is_open()) return inbox.open("b", 0);
    inbox.poke();
  }
  std::vector<broker::TicketId> tickets;
};

const std::string kLarge(100, 'x');

}  // namespace

TEST_CASE("node_stream: small frames of a turn are one batch, a large one goes in parts, all in their order") {
  World w;
  w.stream.append(NodeFrame::route, "1");
  w.stream.append(NodeFrame::route, "2");
  w.stream.append(NodeFrame::route, kLarge);
  w.stream.append(NodeFrame::route, "3");
  CHECK(w.stream.waiting_bytes() == 3 * 6 + 105);
  w.send_all();
  CHECK(w.stream.waiting_bytes() == 0);
  CHECK(w.hub.entries.size() == 1 + 7 + 1);
  for (const cluster::Entry& entry : w.hub.entries) CHECK(entry.frames.size() <= 16 + 5 + 16);
  w.read_all();
  CHECK(w.fine);
  CHECK(w.got == std::vector<std::string>{"1", "2", kLarge, "3"});
}

TEST_CASE("node_stream: who waits for a large frame waits for its last part") {
  World w;
  w.stream.append(NodeFrame::route, kLarge);
  w.stream.wait(7);
  for (int part = 1; part <= 7; ++part) {
    CHECK(w.tickets.empty());
    REQUIRE(w.flush());
    w.hub.answer(Status::ok);
  }
  CHECK(w.tickets == std::vector<broker::TicketId>{7});
}

TEST_CASE("node_stream: the parts stay in the inbox until the frame is done with") {
  World w;
  w.hold = true;
  w.stream.append(NodeFrame::route, "1");
  w.stream.append(NodeFrame::route, kLarge);
  w.send_all();
  w.read_all();
  w.inbox.poke();
  CHECK(w.hub.trimmed == 1);
  w.inbox.release(w.held);
  w.inbox.poke();
  CHECK(w.hub.trimmed == 8);
  CHECK(w.inbox.pending_bytes() == 0);
}

TEST_CASE("node_stream: a refused part is sent again, after a lost one the frame begins anew") {
  World w;
  w.stream.append(NodeFrame::route, kLarge);
  w.stream.wait(1);
  REQUIRE(w.flush());
  w.hub.answer(Status::ok);
  REQUIRE(w.flush());
  const std::string second = w.hub.batch;
  SUBCASE("refused") {
    w.hub.answer(Status::refused, false);
    CHECK_FALSE(w.flush());
    w.stream.try_again();
    REQUIRE(w.flush());
    CHECK(w.hub.batch == second);
  }
  SUBCASE("lost, with all there was") {
    w.hub.answer(Status::lost, false);
    w.hub.entries.clear();
    w.stream.try_again();
  }
  SUBCASE("lost, but it is there") {
    w.hub.answer(Status::lost);
    w.stream.try_again();
  }
  SUBCASE("Redis has come back") {
    w.hub.answer(Status::ok);
    w.stream.on_joined();
  }
  if (w.hub.sent) w.hub.answer(Status::ok);
  w.send_all();
  w.read_all();
  CHECK(w.got == std::vector<std::string>{kLarge});
  CHECK(w.tickets.size() == 1);
  w.inbox.poke();
  CHECK(w.hub.trimmed == w.hub.entries.size());
}

TEST_CASE("node_stream: a large frame that was there, and begins anew, is taken once") {
  World w;
  w.stream.append(NodeFrame::route, kLarge);
  while (w.flush()) {
    const bool last = w.hub.entries.size() == 6;
    w.hub.answer(last ? Status::lost : Status::ok);
    if (last) break;
  }
  w.stream.try_again();
  w.stream.append(NodeFrame::route, "next");
  w.send_all();
  w.read_all();
  CHECK(w.got == std::vector<std::string>{kLarge, "next"});
  w.inbox.poke();
  CHECK(w.hub.trimmed == w.hub.entries.size());
}

TEST_CASE("node_stream: what another gateway goes on with begins anew") {
  World w;
  w.stream.append(NodeFrame::route, kLarge);
  for (int part = 0; part < 3; ++part) {
    REQUIRE(w.flush());
    w.hub.answer(Status::ok);
  }
  std::string frames;
  broker::append_node_frame(frames, NodeFrame::route, "of the next one");
  w.hub.entries.push_back({4, "a", 2, frames});
  w.read_all();
  w.inbox.poke();
  CHECK(w.got == std::vector<std::string>{"of the next one"});
  CHECK(w.hub.trimmed == 4);
}

TEST_CASE("node_stream: what is left of a node that is gone is whole") {
  World w;
  w.stream.append(NodeFrame::route, kLarge);
  w.stream.wait(1);
  w.stream.append(NodeFrame::route, "2");
  w.stream.wait(2);
  for (int part = 0; part < 3; ++part) {
    REQUIRE(w.flush());
    w.hub.answer(Status::ok);
  }
  const auto left = w.stream.abandon();
  std::string expected;
  broker::append_node_frame(expected, NodeFrame::route, kLarge);
  broker::append_node_frame(expected, NodeFrame::route, "2");
  CHECK(left.frames == expected);
  CHECK(left.tickets == std::vector<broker::TicketId>{1, 2});
}

TEST_CASE("node_parts: what is no part of anything is malformed") {
  InboxHub hub;
  broker::NodeParts parts;
  broker::NodeInbox inbox(hub, [](const cluster::Entry&, broker::NodeInbox&) {});
  const auto part = [&](uint32_t size, uint32_t offset, std::string_view bytes) {
    std::string body;
    bus::Writer(body).put<uint64_t>(1).put<uint32_t>(size).put<uint32_t>(offset).bytes(bytes);
    base::BufferRef whole;
    return parts.take(1, body, inbox, whole);
  };
  base::BufferRef whole;
  CHECK_FALSE(parts.take(1, "", inbox, whole));
  CHECK_FALSE(part(2, 0, ""));
  CHECK_FALSE(part(2, 0, "abc"));
  CHECK_FALSE(part(2, 2, "a"));
  CHECK_FALSE(part(0xFFFFFFFF, 0, "a"));
  CHECK_FALSE(part(8, 0xFFFFFFFF, "a"));
  CHECK(part(8, 4, "a"));  // of one whose beginning is not there
}
