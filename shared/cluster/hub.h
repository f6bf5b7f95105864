// The seam to what the hosts of a cluster share: leases, inboxes, the directory of client ids, the order of retained
// messages, copies of sessions. One process of a host, its gateway, uses it. DESIGN section 7.
//
// Every call is asynchronous: it is sent behind the calls before it, and its completion comes from run_completions(),
// in the order of the calls, never from inside a call. (read() and changes(), which wait, are neither in order with
// other calls nor behind them; a node's inbox may be on another server than all else, and then send() and trim() are in
// order with what is done to that inbox only.) Each is atomic where it is carried out. When the connection breaks every
// call that has no answer yet completes with Status::lost: it may have been carried out or not. All calls may be
// repeated: what was carried out before is not done twice (numbers, epochs and versions see to that).
//
// A node is a host. It has a name (configuration) and a life, together its key ("name.life"). Everything that belongs
// to a node is kept under its key, and every call that writes for a node checks, in the same atomic step, that the
// calling gateway is its newest: otherwise nothing is done, and the answer is Status::fenced. So it is before join()
// has answered. A node whose host is dead goes on elsewhere, under its key and another name: adopt(). The host itself,
// when it comes back, starts another life.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "shared/store/store.h"

namespace cluster {

enum class Status : uint8_t {
  ok,
  lost,     // no answer: carried out or not
  fenced,   // this life has ended, or a newer gateway speaks for the node: not carried out
  refused,  // not carried out (out of memory, the other node is not ours, ...): try again later
};

struct Node {
  std::string key;            // "name.life"
  uint64_t gateway = 0;       // incarnation of the process that speaks for it; 0: it has been adopted, and none yet
  uint64_t remaining_ms = 0;  // of its lease; 0: it has run out
  std::string adopter;        // key of the node whose host it goes on at; empty: at its own
  std::string inbox;          // address of the server that has its inbox; empty: the one that has all else
  bool operator==(const Node&) const = default;
};

// What join() says, and renew() with `life` unchanged.
struct Membership {
  std::string key;          // ours
  bool fresh = false;       // a new life: what we had goes on elsewhere, or we were never here. Told once to a gateway.
  uint64_t cluster_id = 0;  // changes when what is shared has been lost
  uint64_t inbox_end = 0;   // the newest entry of our inbox; 0: it is empty
  // For how long there has been no time in which nobody could renew: whoever is not among the nodes, or whose lease has
  // run out, has had at least that to say otherwise.
  uint64_t calm_ms = 0;
  std::vector<Node> nodes;  // all, ours included
};

// An entry of a node's inbox: a batch of frames of one gateway.
struct Entry {
  uint64_t id = 0;   // its place in the inbox; grows
  std::string from;  // node key
  uint64_t gateway = 0;
  std::string frames;
};

// Who has, or claims, the session of a client id.
struct Claimed {
  uint64_t epoch = 0;
  // Node key: who claimed it last before the caller and has not got it yet, or else the holder; empty: nobody. The
  // caller itself only if it is the holder.
  std::string previous;
  bool operator==(const Claimed&) const = default;
};
struct Held {
  uint64_t epoch = 0;    // of the entry afterwards: higher than asked for if a newer claim is pending
  std::string holder;    // afterwards: the caller, unless another holds it with a higher epoch
  std::string previous;  // the holder before, if it was another and is not any more
  bool operator==(const Held&) const = default;
};

// A retained message in the order of the cluster. `value` is opaque here; empty: it has been deleted.
struct Retained {
  uint64_t version = 0;
  std::string topic;
  std::string value;
  bool operator==(const Retained&) const = default;
};
struct Changes {
  uint64_t next = 0;  // where to go on
  bool gap = false;   // changes between are not there any more: take a snapshot
  std::vector<Retained> items;
  bool operator==(const Changes&) const = default;
};

struct Copied {  // a record of a node's copy
  uint32_t slot = 0;
  std::string key;
  std::string value;
};

struct Info {
  uint64_t cluster_id = 0;
  std::string server;                 // for the log: address, version
  std::vector<std::string> warnings;  // about its configuration: what it may lose
};

class Hub {
 public:
  class Events {
   public:
    virtual ~Events() = default;
    // Connected and usable; again after every on_down().
    virtual void on_up(const Info& info) = 0;
    // Not usable any more, or, at the start, not reachable: `reason` for the log. Calls complete with `lost` meanwhile.
    // At most once between two on_up().
    virtual void on_down(const std::string& reason) = 0;
    // Frames of another gateway sent with datagram().
    virtual void on_datagram(std::string_view from, std::string_view frames) = 0;
    // Somebody joined, left or was adopted: renew() tells.
    virtual void on_nodes_changed() = 0;
  };
  using Done = std::function<void(Status)>;
  template <typename T>
  using Answer = std::function<void(Status, T)>;

  virtual ~Hub() = default;
  // Once, before everything else: starts connecting, for ever.
  virtual void start(Events& events) = 0;
  // Completions and events that are due.
  virtual void run_completions() = 0;
  // Sends what has been called since; once a turn.
  virtual void flush() = 0;
  virtual bool up() const = 0;
  // Bytes of calls without an answer.
  virtual size_t outstanding() const = 0;
  // Servers that have nothing but inboxes and are not there: what goes to and comes from these is lost meanwhile.
  virtual uint32_t missing_servers() const { return 0; }

  // --- membership ---
  // Registers this node's gateway and takes its lease. `name` is the node's; `gateway` grows with every process.
  virtual void join(const std::string& name, uint64_t gateway, uint64_t lease_ms, Answer<Membership> done) = 0;
  // Extends the lease. After join().
  virtual void renew(uint64_t lease_ms, Answer<Membership> done) = 0;
  // Lets the lease run out now: a host that stops.
  virtual void leave(Done done) = 0;

  // --- traffic ---
  // Puts a batch of frames into a node's inbox. `number` grows by one for each batch of this gateway for that inbox,
  // from 1; a batch that is there is not put twice. Status::ok too if that node has been buried; refused if it is not
  // known: Redis may have lost it, and it will join again.
  virtual void send(const std::string& to, uint64_t number, std::string frames, Done done) = 0;
  // To whoever listens there now: may be lost.
  virtual void datagram(const std::string& to, std::string_view frames) = 0;
  // Entries of an inbox behind `after`, at most about `max_bytes` of them; waits about a second for the first one and
  // answers with none then. One read at a time for each inbox. Waiting delays no other call.
  virtual void read(const std::string& inbox, uint64_t after, size_t max_bytes, Answer<std::vector<Entry>> done) = 0;
  // Everything in this node's inbox up to and including `id` is done with.
  virtual void trim(uint64_t id, Done done) = 0;

  // --- the directory: client id -> (epoch, claimant, holder) ---
  // This node wants the session. epoch = max(last + 1, at_least, clock in microseconds).
  virtual void claim(std::string_view client, uint64_t at_least, Answer<Claimed> done) = 0;
  // This node has it with that epoch (after a claim, or since before the directory knew): holder, unless another holds
  // it with a higher epoch. A newer claim of another stays pending.
  virtual void hold(std::string_view client, uint64_t epoch, Answer<Held> done) = 0;
  // The claim of that epoch has come to nothing: the holder stays who it is, and claims of others that are open are.
  virtual void withdraw(std::string_view client, uint64_t epoch, Done done) = 0;
  // The session has ended: this node holds or claims it no more, if it did with an epoch up to `epoch`.
  virtual void release(std::string_view client, uint64_t epoch, Done done) = 0;
  // Who holds it now: a node key, or empty.
  virtual void holder(std::string_view client, Answer<std::string> done) = 0;
  // Who claimed it last before that epoch and has neither got it nor given up, and with which epoch; or else, with 0,
  // the holder.
  virtual void before(std::string_view client, uint64_t epoch, Answer<Claimed> done) = 0;
  // One part (of directory_parts()) of the entries in which this node is the holder or the claimant.
  struct Mine {
    std::string client;
    uint64_t epoch = 0;  // with which it is the holder, or claims
    bool holds = false;  // else it claims
  };
  virtual uint32_t directory_parts() const = 0;
  virtual void mine(uint32_t part, Answer<std::vector<Mine>> done) = 0;

  // --- retained messages ---
  // Decides the order: gives the change a version (higher than all before, and than `at_least`), keeps it and tells
  // all nodes through changes(). A deletion is kept for a while, so that who was away learns of it.
  virtual void retain(std::string_view topic, std::string_view value, uint64_t at_least, Answer<uint64_t> done) = 0;
  // The same for a value that has a version already, if the one there is lower or missing: what a host still has of a
  // lost Redis. Answers with the version that is there afterwards.
  virtual void retain_again(const Retained& item, Answer<uint64_t> done) = 0;
  // Changes behind `after` (0: only says where the end is now); waits about a second for the first one. One at a time.
  // `next` is a place in the order of changes, not a version.
  virtual void changes(uint64_t after, Answer<Changes> done) = 0;
  // All that is kept, deletions included, piece by piece: `cursor` 0 begins, the answer's `next` 0 ends. An item may
  // come twice.
  virtual void snapshot(uint64_t cursor, Answer<Changes> done) = 0;

  // For how long a deletion is kept.
  virtual uint64_t deletions_kept_ms() const { return 3'600'000; }

  // --- copies of what a node's workers have stored, for the others ---
  // A copy is made in rounds: the first batches of a round bring all there is, and until the round is finished the copy
  // is that of the round before. `round` is another one each time, not 0. Calls of a round that another has replaced
  // are refused.
  virtual void begin_copy(uint32_t slot, uint64_t round, Done done) = 0;
  // Applies the changes to this node's copy of a slot. Whole batches, in order.
  virtual void copy(uint32_t slot, uint64_t round, const store::Batch& batch, Done done) = 0;
  virtual void finish_copy(uint32_t slot, uint64_t round, Done done) = 0;
  // Forgets this node's copies of slots from `slots` on.
  virtual void keep_copies(uint32_t slots, Done done) = 0;
  // Records of a node's copy, as in snapshot(). Of a slot whose first round is not finished: what there is of it.
  struct Records {
    uint64_t next = 0;
    std::vector<Copied> items;
  };
  virtual void read_copy(const std::string& node, uint64_t cursor, Answer<Records> done) = 0;

  // --- adoption ---
  // Takes over a node whose lease has run out `lease_ms` ago, if it has been calm for 3/2 `lease_ms` (so that it could
  // have renewed); or goes on with one that this node has adopted. ok with the name under which it is to join
  // from now on; empty: it is not ours to adopt. Nothing is done for that node any more but by who joins under that
  // name, and who does not within `within_ms` may lose it to the next.
  virtual void adopt(const std::string& node, uint64_t lease_ms, uint64_t within_ms, Answer<std::string> done) = 0;
  // This node is not needed any more: everything of it is forgotten, and its life ends. Refused while there is
  // something in its inbox.
  virtual void bury(Done done) = 0;
};

}  // namespace cluster
