#include "worker/broker/missed.h"

#include <algorithm>
#include <utility>

#include "worker/broker/journal.h"
#include "worker/session/takeover_state.h"

namespace broker {
namespace {

bool is_accepted(const bus::Uid& identity) {
  return (identity.sequence & kAccepted) != 0;
}

std::unique_ptr<Marks>& has_of(session::Session& session, bool accepted) {
  return accepted ? session.skip_once : session.came_with;
}

uint64_t mark_of(const Marks* marks, uint64_t origin) {
  if (marks == nullptr) return 0;
  const auto it = marks->find(origin);
  return it == marks->end() ? 0 : it->second;
}

void forget(session::Session& session, const session::Stream& stream) {
  session.missed->erase(stream);
  if (session.missed->empty()) session.missed.reset();
}

}  // namespace

void note_known(Core& core, session::Inbound& inbound) {
  if (!core.config.clustered()) return;
  inbound.known = core.seen;
  inbound.known_accepted = core.journal->accepted_seen();
}

void note_missed(session::Session& session, const session::Inbound& inbound) {
  const auto note = [&session](const Marks& known, bool accepted) {
    for (const auto& [origin, sequence] : known) {
      if (sequence <= mark_of(has_of(session, accepted).get(), origin)) continue;
      if (!session.missed) session.missed = std::make_unique<std::map<session::Stream, uint64_t>>();
      (*session.missed)[{origin, accepted}] = sequence;
    }
  };
  note(inbound.known, false);
  note(inbound.known_accepted, true);
}

bool has_missed(const session::Session& session, const bus::Uid& identity) {
  if (!session.missed) return false;
  const bool accepted = is_accepted(identity);
  const auto it = session.missed->find({identity.incarnation, accepted});
  if (it == session.missed->end() || identity.sequence > it->second) return false;
  return identity.sequence > mark_of((accepted ? session.skip_once : session.came_with).get(), identity.incarnation);
}

void note_got(session::Session& session, const bus::Uid& identity) {
  if (!has_missed(session, identity)) return;
  const bool accepted = is_accepted(identity);
  std::unique_ptr<Marks>& has = has_of(session, accepted);
  if (!has) has = std::make_unique<Marks>();
  (*has)[identity.incarnation] = identity.sequence;
  const session::Stream stream{identity.incarnation, accepted};
  if (identity.sequence >= session.missed->at(stream)) forget(session, stream);
}

void note_new(session::Session& session, const bus::Uid& identity) {
  if (!session.missed) return;
  const session::Stream stream{identity.incarnation, is_accepted(identity)};
  const auto it = session.missed->find(stream);
  if (it != session.missed->end() && identity.sequence > it->second) forget(session, stream);
}

void add_known(std::unique_ptr<Marks>& has, const Marks& known, const session::Session& session, bool accepted) {
  for (const auto& [origin, sequence] : known) {
    if (session.missed && session.missed->contains({origin, accepted})) continue;
    if (!has) has = std::make_unique<Marks>();
    uint64_t& mark = (*has)[origin];
    mark = std::max(mark, sequence);
  }
}

}  // namespace broker
