#include "worker/broker/node_inbox.h"

#include <algorithm>
#include <utility>

namespace broker {

void NodeInbox::open(const std::string& key, uint64_t end) {
  if (key_ != key) {  // another life
    last_ = 0;
    pending_.clear();
    pending_bytes_ = 0;
    done_ = trimmed_ = 0;
  }
  key_ = key;
  end_ = std::max(end_, end);
  ++session_;
  asked_ = false;
  reading_ = true;
  trimmed_ = 0;  // it may have been lost
  trim(true);
  read();
}

void NodeInbox::read() {
  if (!reading_ || asked_ || pending_bytes_ >= kMaxPending) return;
  asked_ = true;
  hub_.read(key_, last_, kReadBytes,
            [this, session = session_](cluster::Status status, const std::vector<cluster::Entry>& entries) {
              on_read(status, entries, session);
            });
}

void NodeInbox::on_read(cluster::Status status, const std::vector<cluster::Entry>& entries, uint64_t session) {
  if (session != session_) return;
  if (status != cluster::Status::ok) {
    asked_ = false;  // asked again by poke(): only this read may be lost, and the hub be up
    reading_ = reading_ && status != cluster::Status::fenced;
    return;
  }
  for (const cluster::Entry& entry : entries) {
    last_ = entry.id;
    pending_.push_back({entry.id, entry.frames.size(), 1, false, {}});
    pending_bytes_ += entry.frames.size();
    on_entry_(entry, *this);
    release(entry.id);  // does not read: what comes behind it is still to be taken
  }
  asked_ = false;
  read();
}

uint64_t NodeInbox::hold() {
  ++pending_.back().held;
  return pending_.back().id;
}

uint64_t NodeInbox::hold_part() {
  Pending& entry = pending_.back();
  if (!entry.part) pending_bytes_ -= entry.bytes;
  entry.part = true;
  return hold();
}

void NodeInbox::join(std::vector<uint64_t> parts) {
  for (const uint64_t id : parts) {
    Pending* entry = find(id);
    if (entry == nullptr || !entry->part) continue;
    entry->part = false;
    pending_bytes_ += entry->bytes;
  }
  auto& joined = pending_.back().parts;
  joined.insert(joined.end(), parts.begin(), parts.end());
}

NodeInbox::Pending* NodeInbox::find(uint64_t id) {
  const auto entry =
      std::lower_bound(pending_.begin(), pending_.end(), id, [](const Pending& p, uint64_t i) { return p.id < i; });
  return entry == pending_.end() || entry->id != id ? nullptr : &*entry;
}

void NodeInbox::release(uint64_t id) {
  Pending* entry = find(id);
  if (entry == nullptr || --entry->held != 0) return;
  for (const uint64_t part : std::exchange(entry->parts, {})) release(part);
  trim();
  read();
}

void NodeInbox::trim(bool all) {
  while (!pending_.empty() && pending_.front().held == 0) {
    done_ = pending_.front().id;
    if (!pending_.front().part) pending_bytes_ -= pending_.front().bytes;
    due_bytes_ += pending_.front().bytes;
    ++due_entries_;
    pending_.pop_front();
  }
  if (done_ == trimmed_ || !reading_) return;
  if (!all && due_entries_ < kTrimEntries && due_bytes_ < kTrimBytes) return;
  trimmed_ = done_;
  due_entries_ = due_bytes_ = 0;
  hub_.trim(done_, [this, session = session_](cluster::Status status) {
    if (session == session_ && status != cluster::Status::ok) trimmed_ = 0;
  });
}

}  // namespace broker
