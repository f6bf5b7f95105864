#include "worker/broker/journal.h"

#include <algorithm>
#include <utility>

#include "worker/broker/copier.h"
#include "worker/broker/peers.h"
#include "worker/broker/sessions.h"

namespace broker {

store::Now Journal::now() const {
  return {core_.now(), core_.env.clock->wall_us() / 1000};
}

Journal::Waiting* Journal::last() {
  if (!batch_.empty()) return &current_;
  return under_way_.empty() ? nullptr : &under_way_.rbegin()->second;
}

void Journal::wait(TicketId ticket) {
  if (ticket == kNoTicket) return;
  if (Waiting* waiting = last()) {
    waiting->tickets.push_back(ticket);
  } else {
    core_.tickets->done(ticket);
  }
}

void Journal::then(std::function<void()> done) {
  if (Waiting* waiting = last()) {
    waiting->functions.push_back(std::move(done));
  } else {
    done();
  }
}

void Journal::wait_to_send(const session::Session& session) {
  if (!current_.senders.empty() && current_.senders.back().first == session.id()) return;
  current_.senders.emplace_back(session.id(), session.sid);
}

Journal::Origin Journal::origin_of(const bus::Uid& once, Stream stream) {
  const auto accepted = static_cast<uint8_t>((once.sequence & kAccepted) != 0 ? 2 : 0);
  return {once.incarnation, static_cast<uint8_t>(static_cast<uint8_t>(stream) | accepted)};
}

bool Journal::knows(const bus::Uid& once, Stream stream) const {
  const auto it = stored_.find(origin_of(once, stream));
  return it != stored_.end() && once.sequence <= it->second;
}

void Journal::note(const bus::Message& message, Stream stream) {
  const Origin origin = origin_of(message.once(), stream);
  stored_[origin] = message.once().sequence;
  noted_[origin] = message.once().sequence;
}

void Journal::note_held(const bus::Message& message) {
  const Origin origin = origin_of(message.once(), Stream::messages);
  const uint64_t newest = std::max(stored_[origin], message.once().sequence);
  stored_[origin] = noted_[origin] = newest;
}

void Journal::note_passing(const bus::Message& message, Stream stream) {
  if ((message.once().sequence & kAccepted) != 0) stored_[origin_of(message.once(), stream)] = message.once().sequence;
}

std::map<uint64_t, uint64_t> Journal::seen_of(uint8_t kind) const {
  std::map<uint64_t, uint64_t> seen;
  for (const auto& [origin, sequence] : stored_) {
    if (origin.second == kind) seen[origin.first] = sequence;
  }
  return seen;
}

void Journal::forget_seen() {
  const auto of_messages = [](const auto& entry) {
    return (entry.first.second & 1) == static_cast<uint8_t>(Stream::messages);
  };
  std::string key;
  for (const auto& entry : stored_) {
    if (!of_messages(entry)) continue;
    store::seen_key(key, 0, entry.first.first, entry.first.second);
    batch_.erase(key);
  }
  std::erase_if(stored_, of_messages);
  std::erase_if(noted_, of_messages);
}

void Journal::restore_seen(const store::Key& key, uint64_t sequence) {
  stored_[{key.incarnation, key.seen}] = sequence;
  if (key.seen == 0) core_.seen[key.incarnation] = sequence;
}

void Journal::end_of_turn() {
  if (batch_.empty()) {
    // What waits for the turn waits for what is under way.
    for (auto& done : std::exchange(current_.functions, {})) then(std::move(done));
    return;
  }
  std::string key;
  std::string value;
  for (const auto& [origin, sequence] : noted_) {
    store::seen_key(key, 0, origin.first, origin.second);
    store::encode_number(value, sequence);
    batch_.put(key, value);
  }
  noted_.clear();
  forget_long_dead();
  const uint64_t number = number_++;
  changes_before_ += batch_.changes();
  Waiting& waiting = under_way_[number];
  waiting = std::exchange(current_, {});
  waiting.number = number;
  waiting.bytes = batch_.bytes();
  waiting.since = core_.now();
  waiting_bytes_ += waiting.bytes;
  core_.copier->add(batch_, number);
  core_.env.store->commit(std::exchange(batch_, {}), [this, number] {
    under_way_.at(number).stored = true;
    core_.copier->on_stored(number);
    run_completed();
  });
}

void Journal::run_completed() {
  while (!under_way_.empty()) {
    const auto it = under_way_.begin();
    if (!it->second.stored || core_.copier->waits_for(it->first)) return;
    Waiting done = std::move(it->second);
    under_way_.erase(it);
    completed(done);
  }
}

// The living have up to four streams each; the oldest of the dead go.
void Journal::forget_long_dead() {
  const size_t most = kMaxOrigins + 4 * size_t{core_.slots};
  if (stored_.size() <= most || !core_.peers->ready()) return;
  size_t left = stored_.size();
  std::string key;
  for (auto it = stored_.begin(); it != stored_.end() && left > most;) {
    if (core_.peers->is_dead(it->first.first)) {
      store::seen_key(key, 0, it->first.first, it->first.second);
      batch_.erase(key);
      it = stored_.erase(it);
      --left;
    } else {
      ++it;
    }
  }
}

void Journal::completed(Waiting& done) {
  waiting_bytes_ -= done.bytes;
  for (const TicketId ticket : done.tickets) core_.tickets->done(ticket);
  for (const auto& [id, sid] : done.senders) {
    session::Session* session = core_.sessions->by_id(id);
    if (session != nullptr && session->sid == sid) session->on_stored(done.number);
  }
  for (const auto& function : done.functions) function();
  if (held_back_.empty() || behind()) return;
  for (const ClientRef ref : std::exchange(held_back_, {})) {
    if (connection::MqttClient* client = core_.clients->find(ref)) client->resume();
  }
}

bool Journal::stuck() const {
  return refuses() && !under_way_.empty() && core_.now() >= under_way_.begin()->second.since + kStuckMs;
}

void Journal::hold_back(connection::MqttClient& client) {
  held_back_.push_back(ref_of(client));
  client.pause();
}

}  // namespace broker
