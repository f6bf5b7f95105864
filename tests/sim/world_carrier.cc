// World as the driver of each worker: its turns, the master's messages, and the bytes of the links.
#include <algorithm>

#include "tests/sim/world.h"

namespace sim {

void World::turn(Process& process) {
  process.dirty = false;
  process.broker->advance();
  process.broker->end_of_turn();
  if (process.broker->more_work()) process.dirty = true;
  if (flush_clients) flush_clients(process);
  if (!process.fenced) return;
  hosts_[process.host]->fenced = true;
  kill(process);
}

void World::hear_peers(Process& process) {
  const std::vector<broker::PeerId> live = std::move(process.inbox.front());
  process.inbox.pop_front();
  for (auto& wire : wires_) {
    for (uint32_t side = 0; side < 2; ++side) {
      if (wire->sides[side].process != &process) continue;
      Wire::Side& self = wire->sides[side];
      const bool listed = std::find(live.begin(), live.end(), wire->other(side).process->id) != live.end();
      if (listed) self.heard = true;
      if (!listed && self.heard) self.told_dead = true;
    }
  }
  if (trace_.keeps_lines()) {
    std::string line = text("!! ", process.name(), " hears of");
    for (const broker::PeerId& peer : live) line += text(" w", peer.slot, '.', peer.incarnation);
    trace_.line(line);
  }
  process.broker->set_peers(live);
  process.dirty = true;
}

void World::forget_peer(Process& process, uint32_t dead) {
  uint32_t side = 0;
  Wire* w = wire(process, *processes_[dead], side);
  Wire::Side& self = w->sides[side];
  trace_.line("!! ", process.name(), " has read all of ", processes_[dead]->name());
  if (self.up) {
    self.up = false;
    if (random_.one_in(2)) process.broker->peer_disconnected(processes_[dead]->id);
  }
  self.gone = true;
  process.broker->peer_gone(processes_[dead]->id);
  process.dirty = true;
  note_mourning();
}

void World::dial(Wire& w, uint32_t side) {
  bus::Link* link = w.sides[side].process->broker->link(w.other(side).process->id);
  if (link == nullptr) return;  // not yet: its predecessor in that slot is not forgotten; it will try again
  w.dialling = true;
  w.broken = false;
  w.dialler = side;
  w.greeting = link->received();
}

void World::establish(Wire& w, uint32_t side) {
  Wire::Side& self = w.sides[side];
  Wire::Side& peer = w.other(side);
  Process& process = *self.process;
  const bool as_acceptor = side == w.acceptor();
  const uint64_t peer_received = w.greeting;
  // Nobody talks to a process that the master has not told it of; it will call again.
  self.link = self.heard || !as_acceptor ? process.broker->link(peer.process->id) : nullptr;
  if (self.link != nullptr && as_acceptor) w.greeting = self.link->received();  // what it answers
  if (self.link == nullptr || !process.broker->peer_connected(peer.process->id, peer_received)) {
    trace_.line("!! ", process.name(), " refuses ", peer.process->name());
    if (!self.in.empty()) {
      trace_.fail(text(process.name(), " refuses what ", peer.process->name(), " has written"), {process.name()});
    }
    w.broken = peer.up;
    if (!peer.up) w.reset();
    return;
  }
  trace_.line(process.name(), " is connected with ", peer.process->name(), ", which has ", peer_received);
  self.up = true;
  if (!as_acceptor) w.dialling = false;
  process.dirty = true;
}

void World::deliver(Wire& w, uint32_t side) {
  Wire::Side& self = w.sides[side];
  Process& process = *self.process;
  const broker::PeerId peer = w.other(side).process->id;
  base::UniqueFd descriptor;
  const size_t max = random_.one_in(3) ? self.in.size() : 1 + random_.below(settings_.chunk * 4);
  const std::string bytes = self.in.take(max, descriptor);
  if (descriptor) self.link->on_attachment(descriptor.release());
  trace_.mix(bytes.size());
  trace_.line(process.name(), " reads ", bytes.size(), " of ", w.other(side).process->name());
  if (!process.broker->peer_bytes(peer, bytes)) {
    trace_.fail(text(process.name(), " calls bytes of ", w.other(side).process->name(), " malformed"),
                {process.name()});
  }
  process.dirty = true;
}

size_t World::write(Wire& w, uint32_t side) {
  Wire::Side& self = w.sides[side];
  Pipe& out = w.other(side).in;
  if (!self.up || w.ended(side)) return 0;
  size_t total = 0;
  size_t limit = random_.one_in(4) ? 1 + random_.below(out.room() + 1) : out.room();
  while (limit > 0) {
    iovec iov[16];
    int descriptor = -1;
    const int count = self.link->gather(iov, 16, descriptor);
    if (count == 0) break;
    if (descriptor >= 0) out.put_descriptor(descriptor);
    size_t n = 0;
    for (int i = 0; i < count && limit > 0; ++i) {
      const size_t piece = std::min(iov[i].iov_len, limit);
      out.put({static_cast<const char*>(iov[i].iov_base), piece});
      n += piece;
      limit -= piece;
    }
    self.link->on_written(n);
    total += n;
  }
  if (self.lost && self.link->written() >= self.lost_until) self.lost = false;
  trace_.mix(total);
  return total;
}

void World::flush_link(Process& process, bus::Link& link) {
  if (!process.alive) return;
  for (auto& w : wires_) {
    for (uint32_t side = 0; side < 2; ++side) {
      if (w->sides[side].process == &process && w->sides[side].link == &link) write(*w, side);
    }
  }
}

void World::write_more(Wire& w, uint32_t side) {
  Process& process = *w.sides[side].process;
  if (write(w, side) == 0) return;
  process.broker->peer_progress(w.other(side).process->id);
  process.dirty = true;
}

void World::notice_broken(Wire& w, uint32_t side) {
  Wire::Side& self = w.sides[side];
  self.up = false;
  self.process->broker->peer_disconnected(w.other(side).process->id);
  self.process->dirty = true;
  trace_.line(self.process->name(), " lost its connection with ", w.other(side).process->name());
  if (!w.other(side).up) w.reset();
}

}  // namespace sim
