// Reads the inbox of a node, its own or one it has adopted, in order, and trims what is done with: an entry is when
// every message of it is where it must be (contract C6). At a low rate each message is an entry, and to trim it costs
// Redis as much as to take it, so what is done with is trimmed when it has come to something, and with every poke().
// Who reads on from there after our death drops what it has seen.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "shared/cluster/hub.h"

namespace broker {

class NodeInbox {
 public:
  // Takes an entry's frames. hold() within it, release() later, keep the entry from being trimmed.
  using OnEntry = std::function<void(const cluster::Entry& entry, NodeInbox& inbox)>;
  NodeInbox(cluster::Hub& hub, OnEntry on_entry) : hub_(hub), on_entry_(std::move(on_entry)) {}

  // From its oldest entry on. Again after the hub was down: goes on behind what has been read.
  // `end`: its newest entry now.
  void open(const std::string& key, uint64_t end);
  void pause() { reading_ = false; }
  // Trims what there is, and tries again what was refused. Every tick.
  void poke() {
    trim(true);
    read();
  }
  bool is_open() const { return !key_.empty(); }
  // What was there when it was opened has been read and passed on. (Not: is done with. That may wait for a session that
  // moves, which waits for this.)
  bool caught_up() const { return last_ >= end_; }
  size_t pending_bytes() const { return pending_bytes_; }

  // The message being passed on is not done with. Returns what release() wants.
  uint64_t hold();
  // What is in the entry that is being taken is a part, and means nothing yet: until join() nothing waits for it to be
  // done with before more is read. Returns what release() wants.
  uint64_t hold_part();
  // The entry that is being taken completes those: they are done with when it is.
  void join(std::vector<uint64_t> parts);
  // The entry that is being taken.
  uint64_t current() const { return pending_.back().id; }
  void release(uint64_t entry);

 private:
  static constexpr size_t kReadBytes = 1024 * 1024;
  static constexpr size_t kMaxPending = 16 * 1024 * 1024;  // not yet done with; then nothing more is read
  static constexpr size_t kTrimEntries = 256;
  static constexpr size_t kTrimBytes = 1024 * 1024;
  struct Pending {
    uint64_t id = 0;
    size_t bytes = 0;
    uint32_t held = 0;
    bool part = false;
    std::vector<uint64_t> parts;
  };
  Pending* find(uint64_t entry);
  void read();
  void on_read(cluster::Status status, const std::vector<cluster::Entry>& entries, uint64_t session);
  void trim(bool all = false);

  cluster::Hub& hub_;
  const OnEntry on_entry_;
  std::string key_;
  uint64_t session_ = 0;  // counts open()
  bool reading_ = false;  // open, and not paused
  bool asked_ = false;
  uint64_t end_ = 0;
  uint64_t last_ = 0;       // read up to here
  uint64_t done_ = 0;       // done with up to here
  uint64_t trimmed_ = 0;    // and told so, or being told
  size_t due_entries_ = 0;  // between the two
  size_t due_bytes_ = 0;
  std::deque<Pending> pending_;
  size_t pending_bytes_ = 0;
};

}  // namespace broker
