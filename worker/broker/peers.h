// The other workers of the host: who is alive, the link to each, and what waits for a link's progress.
//
// Four things wait: PUBACKs until a message is handed over (written to the link: it survives our death), or, where a
// durable session is behind the route, until the peer says that it is stored; SUBACKs until every linked peer has
// processed an announcement (contract C5); and publishers without credit.
//
// A new peer incarnation gets everything in one go: routes, shared groups, what we hold of the client ids whose home it
// is, running takeovers, then sync_end. This worker is ready when it has every live peer's sync_end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/base/ring.h"
#include "shared/bus/frames.h"
#include "shared/bus/link.h"
#include "shared/store/record.h"
#include "worker/broker/core.h"
#include "worker/broker/tickets.h"

namespace broker {

// What a sync_end says: everything has been told; or, a gateway's, that it does not know yet what all hosts want:
// neither can that of its predecessor be forgotten, nor (`unheard`) is it known what else some host wants that is down.
enum class Told : uint8_t { all, partial, unheard };

struct Peer {
  Peer(WorkerId peer_id, base::ChunkPool& pool) : id(peer_id), link(pool) {}
  WorkerId id;
  bus::Link link;
  bool synced = false;       // its sync_end has come
  std::optional<Told> told;  // what ours said
  // What its predecessor had accepted has been routed again, and is here; everybody has read what it holds.
  bool recovered = false;
  std::string life;            // of the host, as it has told: it has given up what is not of that (host_life.h)
  bool pending_flush = false;  // in Peers::dirty_
  uint64_t counted = 0;        // position up to which bus_bytes_sent counts
  struct Mark {
    uint64_t position = 0;
    TicketId ticket = kNoTicket;
    // Without a ticket: answers to a client's messages that are for this peer only, one after the other.
    uint64_t begin = 0;  // in the stream, of the first message
    uint64_t pending = 0;
    uint32_t count = 0;
    ClientRef client;
  };
  base::Ring<Mark> until_written;
  struct Announced {
    uint64_t number = 0;
    uint64_t position = 0;  // kUntilMarked: until it says so itself
  };
  static constexpr uint64_t kUntilMarked = ~uint64_t{0};
  base::Ring<Announced> announced;
  struct HeldBack {
    ClientRef client;
    base::MonoMs since = 0;
  };
  std::vector<HeldBack> held_back;

  // Frames with kWantStored that the peer has not confirmed: should it die, they are for its successor (outbox.h).
  struct Unstored {
    bus::MessageRef message;  // null: confirmed
    TicketId ticket = kNoTicket;
    store::Purpose purpose = store::Purpose::publish;
    uint64_t number = 0;  // of its record in the outbox, 0: none
  };
  base::Ring<Unstored> unstored;
  uint64_t first_unstored = 0;  // the count of kWantStored frames before unstored's front
  uint64_t unstored_bytes = 0;
  // And the peer's to us.
  uint64_t wanted = 0;              // how many have come
  std::vector<uint64_t> confirmed;  // to be told at the end of the turn, as in a `stored` frame
};

// What the broker does with frames and with the coming and going of peers.
class PeerEvents {
 public:
  virtual ~PeerEvents() = default;
  // A new incarnation: append everything it must know to its link. False: there is more to come, finish_sync() ends it.
  virtual bool on_peer_linked(Peer& peer) = 0;
  virtual void on_peer_gone(const WorkerId& peer) = 0;
  // It has told all that it knows; not the first time, if it was not everything then.
  virtual void on_peer_synced(const WorkerId& peer, Told told) = 0;
  virtual bool on_peer_frame(Peer& peer, bus::FrameType type, uint8_t flags, std::string_view body,
                             const base::BufferRef& attachment) = 0;
  // What the dead peer had not confirmed.
  virtual void on_unstored(const WorkerId& peer, base::Ring<Peer::Unstored> unstored) = 0;
  virtual void on_all_synced() = 0;
};

class Peers {
 public:
  Peers(Core& core, PeerEvents& events);

  // --- driver ---
  void set_live(const std::vector<PeerId>& live);
  bus::Link* link(PeerId id);
  bool connected(PeerId id, uint64_t peer_received);
  void disconnected(PeerId id);
  bool bytes(PeerId id, std::string_view bytes);
  void gone(PeerId id);
  void progress(PeerId id);
  void end_of_turn();
  bool ready() const { return ready_; }
  // A gateway: says so to those to whom that, or `all`, has not been said.
  void finish_sync(Told told);
  // Every slot has a worker, and everything that a dead one of any slot had accepted has come as far as here.
  bool all_recovered() const;

  // --- the broker's parts ---
  // Null: no link to that slot now.
  Peer* find(uint32_t slot) { return slot < by_slot_.size() ? by_slot_[slot].get() : nullptr; }
  Peer* find(const WorkerId& id);
  bool is_live(const WorkerId& id) const;
  // That process is linked, or may become so: its stream has not ended.
  bool may_say_more(uint64_t incarnation) const;
  bool is_dead(uint64_t incarnation) const {
    return incarnation != core_.self.incarnation && !may_say_more(incarnation);
  }
  template <typename F>
  void for_each(F&& f) {
    for (auto& peer : by_slot_) {
      if (peer) f(*peer);
    }
  }
  // Appends a small frame whose body was built with bus::Writer into core.scratch.
  void send(Peer& peer, bus::FrameType type, uint8_t flags, std::string_view body);
  void mark_dirty(Peer& peer);
  // Completes the ticket when what has been appended so far is in the kernel / processed by the peer.
  void wait_written(Peer& peer, TicketId ticket);
  // The same for a client's message that waits for nothing else, from `begin` in the stream on: no ticket is needed.
  void answer_when_written(Peer& peer, uint64_t begin, ClientRef client, uint64_t pending);
  // Sends the message with kWantStored; `what.ticket` waits for the confirmation.
  void send_to_store(Peer& peer, bus::FrameType type, Peer::Unstored what);
  // A frame with kWantStored has come: its name, for confirm().
  static uint64_t count_wanted(Peer& peer) { return peer.wanted++; }
  // What that frame brought is stored (the peer may be gone), or, with bus::kRefused, is not going to be.
  void confirm(const WorkerId& peer, uint64_t wanted);
  bool has_credit(const Peer& peer) const {
    return peer.link.outstanding() + peer.unstored_bytes < core_.env.link_credit;
  }
  // The client goes on when the peer has credit again.
  void hold_back(Peer& peer, connection::MqttClient& client);
  // Closes who has been held back for the gateway for longer than `redis.full_timeout`. Now and then.
  void close_held_back();

  // Says something that is to be acknowledged soon.
  void ask_to_acknowledge();
  // Calls it when the peers that are linked now have processed what was sent to them so far, or are dead.
  void when_read(std::function<void()> then) { await_reading(true, std::move(then)); }
  void when_workers_read(std::function<void()> then) { await_reading(false, std::move(then)); }

  // Announcements are numbered; each is sent to all linked peers.
  uint64_t next_announcement() { return ++announcement_; }
  void note_announced(Peer& peer, uint64_t number);
  // The gateway: all hosts have the announcements up to this one; worker 0, to the gateway: it is stored.
  bool on_marked(Peer& peer, std::string_view body);
  // Every linked peer has processed this announcement.
  bool announced_everywhere(uint64_t number) const { return number <= announced_everywhere_; }
  void when_announced(uint64_t number, std::function<void()> then);

 private:
  class Handler;
  bool on_stored(Peer& peer, std::string_view body);
  void end_sync(Peer& peer, Told told);
  void check_ready();
  void run_marks(Peer& peer);
  void complete(const Peer::Mark& mark);
  void forget_long_dead();
  void run_announced();
  bool is_current(const PeerId& id) const;

  Core& core_;
  PeerEvents& events_;
  std::vector<PeerId> live_;
  bool have_live_ = false;
  bool ready_ = false;
  std::vector<std::unique_ptr<Peer>> by_slot_;
  std::vector<uint32_t> dirty_;
  uint64_t announcement_ = 0;
  uint64_t announced_everywhere_ = 0;
  std::multimap<uint64_t, std::function<void()>> waiting_announced_;
  struct Reading {
    std::map<uint64_t, uint64_t> awaited;  // incarnation -> position in our stream to it
    std::function<void()> then;
  };
  void await_reading(bool gateway_too, std::function<void()> then);
  void run_readings(uint64_t incarnation, uint64_t acked);
  std::vector<Reading> readings_;
};

}  // namespace broker
