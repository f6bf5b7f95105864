// Makes the stores of another number of slots out of those that are there, or one set of stores out of two (import).
//
//   sources ──read──> DIR.new/slot-0 … slot-(n-1) ──synced, then exchanged with DIR in one rename──> DIR
//
// The sources are never written, so there is nothing to repair when this is killed: before the exchange the next run
// begins again, after it everything is done. It costs the disk the size of the stores once more for the time it takes.
//
// - A session stays in its slot while there is one of that number; others go to the home of their client id. Of two
//   sessions with one client id the higher epoch wins. Sids are given out anew.
// - A retained message goes to the home of its topic; of two, the one that was at its home wins, then the newer one.
// - What waited in an outbox for a slot is delivered here and now: to the queues of that slot's sessions, or as the
//   retained message it was to become. No worker runs, so nobody else can do it meanwhile.
// - What was accepted and not routed everywhere goes to a slot that remains, which routes it when it starts. What the
//   sessions of a slot have of it already they know by that slot's K records; a session that leaves its slot takes
//   these along as marks. (Not as K records: those would keep from the other sessions there what only this one has.)
// - A client that was connected when its worker ended was so until the store's "alive" says, in another slot too.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/store/rocks_db.h"

namespace store {

inline constexpr uint32_t kMaxSlots = 256;

// A slot's directory in a directory of stores.
std::string slot_in(const std::string& stores, uint32_t slot);
// A note beside the stores of how many slots they are for, so that this can be known without opening one.
std::optional<uint32_t> noted_slots(const std::string& stores);
void note_slots(const std::string& stores, uint32_t slots);
// Puts the finished stores `fresh` into the place of `stores`, in one step, and removes what was there.
void replace_stores(const std::string& fresh, const std::string& stores);

// Fills one store in large batches. Throws Error.
class StoreWriter {
 public:
  StoreWriter(const std::string& path, const Layout& layout);
  void put(std::string_view key, std::string_view value);
  void erase(std::string_view key);
  std::optional<std::string> get(std::string_view key);
  // All of it is on disk when it returns.
  void finish();

 private:
  void write();
  std::string path_;
  RocksDb db_;
  Batch batch_;
};

class Rebuild {
 public:
  // Sources are directories of stores; with a doubt the earlier one is right.
  Rebuild(std::vector<std::string> sources, std::string stores, uint32_t slots);
  void run();

 private:
  // A session in the new stores.
  struct Session {
    uint32_t slot = 0;
    uint64_t sid = 0;
    uint64_t next_position = 1;
    std::string client_id;
    bool moved = false;
  };
  struct Source {
    std::unique_ptr<RocksDb> db;
    size_t set = 0;                                  // which directory of stores it is in
    std::unordered_map<uint64_t, Session> sessions;  // that come along, by old sid
    std::vector<Mark> seen;                          // its K records
    WallMs alive = 0;
  };
  // Which of several sessions with one client id comes along.
  struct Winner {
    size_t source = 0;
    uint64_t sid = 0;
    uint64_t epoch = 0;
  };
  class Subscriptions;

  void open_sources();
  void open_targets();
  void choose_sessions(size_t source);
  void place_sessions();
  void note_seen(Source& source);
  void copy(Source& source);
  void copy_record(Source& source, const Key& key, std::string_view value);
  void copy_session(const Source& source, const Session& session, std::string_view value);
  void copy_retained();
  void copy_retained(Source& source, bool at_home);
  void deliver_outboxes();
  // False: it is for a group that has no member there.
  bool deliver(Source& to, const Subscriptions& subscriptions, const PendingRecord& pending);
  // Stored by that slot before it died: the rule of worker/broker/journal.h.
  static bool knows(const Source& source, const bus::Message& message, bool retained);
  void set_retained(const bus::MessageRef& message);
  void copy_cluster();
  void copy_life();
  Source* source_of(size_t set, uint32_t slot);

  const std::vector<std::string> source_directories_;
  const std::string stores_;
  const std::string fresh_;
  const uint32_t slots_;
  std::vector<Source> sources_;
  std::vector<std::unique_ptr<StoreWriter>> targets_;
  std::vector<uint64_t> next_accepted_;      // by target
  std::set<uint64_t> pending_incarnations_;  // of what is accepted and not routed everywhere
  std::unordered_map<std::string, Winner> winners_;
  std::string key_;
  std::string value_;
};

}  // namespace store
