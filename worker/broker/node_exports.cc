#include "worker/broker/node_exports.h"

#include <algorithm>
#include <utility>

#include "shared/bus/frames.h"
#include "worker/broker/departures.h"
#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"
#include "worker/broker/state_transfer.h"

namespace broker {

using Outcome = session::Directory::Outcome;

NodeExports::Exports::iterator NodeExports::find(const RemoteNode& from, uint64_t token) {
  return std::ranges::find_if(exports_, [&](const auto& item) {
    const Export& e = item.second;
    return e.node == from.key && e.gateway == from.gateway && e.token == token && !e.aborted;
  });
}

void NodeExports::claim(uint64_t number, const Export& e) {
  Peer* home = core_.peers->find(core_.home_of(e.id));
  if (home == nullptr) return;  // on_peer_linked()
  bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(e.clean).put<uint64_t>(e.epoch).text(e.id);
  core_.peers->send(*home, bus::FrameType::claim, bus::kAckSoon, core_.scratch);
}

void NodeExports::report(const Export& e, uint64_t number, Outcome outcome) {
  Peer* home = core_.peers->find(core_.home_of(e.id));
  if (home == nullptr) return;  // sync_to()
  bus::Writer(core_.scratch).put<uint64_t>(number).put<uint8_t>(static_cast<uint8_t>(outcome)).text(e.id);
  core_.peers->send(*home, bus::FrameType::held, 0, core_.scratch);
}

// There is no session (0), or what is there is not to be had with this claim.
void NodeExports::say(const Export& e, char what) {
  RemoteNode* node = core_.gateway->find(e.node);
  if (node == nullptr) return;
  std::string body;
  bus::Writer(body).put<uint64_t>(e.token).put<uint8_t>(static_cast<uint8_t>(what));
  node->stream.append(NodeFrame::state_begin, body);
}

// What the directory says of us and this session is left over, up to the claim.
void NodeExports::forget_in_directory(const Export& e) {
  if (core_.gateway->directory().is_over(e.id)) return;
  if (core_.gateway->joined()) core_.gateway->hub().release(e.id, e.epoch, [](cluster::Status) {});
}

void NodeExports::restart(Export& e) {
  const bool begun = std::exchange(e.begun, false);
  e.cut_requested = e.freezing = e.pulling = false;
  e.asked.clear();
  e.streams.clear();
  e.cuts.clear();
  e.wanted.reset();
  RemoteNode* node = core_.gateway->find(e.node);
  if (!begun || node == nullptr) return;
  std::string body;
  bus::Writer(body).put<uint64_t>(e.token);
  node->stream.append(NodeFrame::restart, body);
}

// --- nodes ---

bool NodeExports::on_pull(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  Export e;
  e.node = from.key;
  e.gateway = from.gateway;
  e.token = reader.get<uint64_t>();
  e.epoch = reader.get<uint64_t>();
  e.clean = reader.get<uint8_t>() != 0;
  e.id = reader.text();
  if (!reader.at_end()) return false;
  if (find(from, e.token) != exports_.end()) return true;
  const uint64_t number = next_number_++;
  claim(number, exports_[number] = std::move(e));
  return true;
}

bool NodeExports::on_cut_request(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const std::string old_owner(reader.text());
  if (!reader.at_end()) return false;
  std::string frame;
  if (old_owner != core_.gateway->key()) {
    RemoteNode* to = core_.gateway->find(old_owner);
    if (to != nullptr) {
      bus::Writer(frame).put<uint64_t>(from.gateway).put<uint64_t>(token).put<uint64_t>(core_.self.incarnation);
      core_.gateway->append_behind(*to, NodeFrame::cut, frame);
    }
    bus::Writer(frame).put<uint64_t>(token).put<uint64_t>(core_.self.incarnation).put<uint8_t>(to != nullptr);
    from.stream.append(NodeFrame::cut_sent, frame);
    return true;
  }
  const auto it = find(from, token);
  if (it == exports_.end() || !it->second.begun) return true;
  Export& e = it->second;
  e.cut_requested = true;
  if (!e.freezing) e.wanted.reset();  // it was of the round before
  e.asked.clear();
  e.streams.clear();
  core_.peers->for_each([&](Peer& peer) {
    e.asked.insert(peer.id.incarnation);
    bus::Writer(frame).put<uint64_t>(it->first).put<uint32_t>(e.holder.slot).put<uint64_t>(e.holder.incarnation);
    core_.peers->send(peer, bus::FrameType::cut_request, bus::kAckSoon, frame);
  });
  freeze_if_cut(it->first, e);
  return true;
}

bool NodeExports::on_cut(std::string_view body) {
  bus::Reader reader(body);
  const auto gateway = reader.get<uint64_t>();
  const auto token = reader.get<uint64_t>();
  const auto origin = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  for (auto& [number, e] : exports_) {
    if (e.gateway != gateway || e.token != token) continue;
    e.cuts.insert(origin);
    freeze_if_cut(number, e);
    break;
  }
  return true;
}

bool NodeExports::on_freeze(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  std::set<uint64_t> wanted;
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) wanted.insert(reader.get<uint64_t>());
  if (!reader.at_end()) return false;
  const auto it = find(from, token);
  if (it == exports_.end() || !it->second.begun) return true;
  it->second.wanted = std::move(wanted);
  freeze_if_cut(it->first, it->second);
  return true;
}

// Our stream to the owner is cut behind the cuts of all that we passed on to it; what is held back must go first.
void NodeExports::freeze_if_cut(uint64_t number, Export& e) {
  if (e.freezing || !e.begun || !e.cut_requested || !e.asked.empty() || !e.wanted) return;
  if (core_.departures->holding()) return;  // run()
  for (const uint64_t origin : *e.wanted) {
    if (!e.cuts.contains(origin) && core_.gateway->may_say_more(e.node, origin)) return;
  }
  Peer* owner = core_.peers->find(e.holder);
  if (owner == nullptr) return;
  e.freezing = true;
  bus::Writer(core_.scratch).put<uint64_t>(core_.self.incarnation).put<uint64_t>(number);
  core_.peers->send(*owner, bus::FrameType::cut, bus::kAckSoon, core_.scratch);
  bus::Writer writer(core_.scratch);
  writer.put<uint64_t>(number).put<uint16_t>(static_cast<uint16_t>(e.streams.size() + 1));
  writer.put<uint64_t>(core_.self.incarnation);
  for (const uint64_t stream : e.streams) writer.put<uint64_t>(stream);
  core_.peers->send(*owner, bus::FrameType::freeze, bus::kAckSoon, core_.scratch);
}

void NodeExports::run() {
  for (auto& [number, e] : exports_) freeze_if_cut(number, e);
}

bool NodeExports::on_abort(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = find(from, token);
  if (it != exports_.end()) abort(it);
  return true;
}

NodeExports::Exports::iterator NodeExports::abort(Exports::iterator it) {
  Export& e = it->second;
  if (!e.granted) {
    e.aborted = true;
    return std::next(it);
  }
  if (Peer* owner = core_.peers->find(e.holder)) {
    bus::Writer(core_.scratch).put<uint64_t>(it->first);
    core_.peers->send(*owner, bus::FrameType::takeover_abort, bus::kAckSoon, core_.scratch);
  }
  report(e, it->first, Outcome::not_pulled);
  return exports_.erase(it);
}

bool NodeExports::on_stale(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto epoch = reader.get<uint64_t>();
  const std::string id(reader.text());
  if (!reader.at_end()) return false;
  core_.gateway->directory().note_stale(id, epoch);
  for (auto it = exports_.begin(); it != exports_.end(); ++it) {
    Export& e = it->second;
    if (e.id != id || e.node != from.key || e.aborted || !e.granted) continue;
    report(e, it->first, Outcome::ended);
    exports_.erase(it);
    return true;
  }
  Peer* home = core_.peers->find(core_.home_of(id));
  if (home == nullptr) return true;  // its replacement registers what it has, and is told then
  bus::Writer(core_.scratch).put<uint64_t>(epoch).put<uint8_t>(0).text(id);
  core_.peers->send(*home, bus::FrameType::cluster_registered, bus::kAckSoon, core_.scratch);
  return true;
}

void NodeExports::on_gateway_changed(const RemoteNode& node) {
  for (auto it = exports_.begin(); it != exports_.end();) {
    const bool old = it->second.node == node.key && it->second.gateway != node.gateway && !it->second.aborted;
    it = old ? abort(it) : std::next(it);
  }
  run();
}

// What the claimants said of them may be lost; what they still want they begin anew, see NodeImports::on_joined().
void NodeExports::on_redis_lost() {
  for (auto it = exports_.begin(); it != exports_.end();) it = it->second.aborted ? std::next(it) : abort(it);
  run();
}

void NodeExports::on_node_gone(const std::string& key) {
  for (auto it = exports_.begin(); it != exports_.end();) {
    it = it->second.node == key && !it->second.aborted ? abort(it) : std::next(it);
  }
  run();
}

// --- workers here ---

bool NodeExports::on_grant(std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const auto epoch = reader.get<uint64_t>();
  const bool has_holder = reader.get<uint8_t>() != 0;
  WorkerId holder;
  holder.slot = reader.get<uint32_t>();
  holder.incarnation = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = exports_.find(number);
  if (it == exports_.end()) return true;
  Export& e = it->second;
  e.granted = true;
  if (e.aborted) {
    report(e, number, Outcome::not_pulled);
    exports_.erase(it);
  } else if (!has_holder) {
    say(e, 0);
    forget_in_directory(e);
    report(e, number, Outcome::ended);
    exports_.erase(it);
  } else if (epoch > e.epoch) {
    // The directory did not know of this session when it decided: the claimant would have it with too low an epoch.
    say(e, kClaimAnew);
    report(e, number, Outcome::not_pulled);
    exports_.erase(it);
  } else if (!e.done) {
    if (e.pulling) restart(e);  // granted anew: it is with another worker here now
    e.epoch = std::max(e.epoch, epoch);
    e.holder = holder;
    pull(number, e);
  }
  return true;
}

void NodeExports::pull(uint64_t number, Export& e) {
  Peer* peer = core_.peers->find(e.holder.slot);
  if (peer != nullptr && peer->id.incarnation < e.holder.incarnation) peer = nullptr;
  if (peer == nullptr) return;  // on_peer_linked()
  e.holder = peer->id;
  e.pulling = true;
  bus::Writer(core_.scratch).put<uint64_t>(number).put<uint64_t>(e.epoch).put<uint8_t>(e.clean).text(e.id);
  core_.peers->send(*peer, bus::FrameType::pull, bus::kAckSoon, core_.scratch);
}

bool NodeExports::on_state(const WorkerId& from, bus::FrameType type, std::string_view body,
                           const base::BufferRef& attachment) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.ok()) return false;
  const auto it = exports_.find(number);
  if (it == exports_.end() || !it->second.pulling || it->second.holder != from) return true;
  Export& e = it->second;
  RemoteNode* node = core_.gateway->find(e.node);
  if (node == nullptr) return true;
  const std::string_view rest = body.substr(sizeof(uint64_t));
  if (type == bus::FrameType::state_delivery) {
    return pass_delivery_on(node->stream, e.token, rest, attachment, core_.gateway->expiry_shift());
  }
  std::string out;
  bus::Writer(out).put<uint64_t>(e.token);
  out.append(rest);
  if (type == bus::FrameType::state_end) {
    node->stream.append(NodeFrame::state_end, out);
    core_.page.add(metrics::Counter::cluster_takeovers);
    e.done = true;
    return true;
  }
  if (rest.empty()) return false;
  node->stream.append(NodeFrame::state_begin, out);
  e.begun = rest.front() != 0;
  if (!e.begun) {
    forget_in_directory(e);
    report(e, number, Outcome::ended);
    exports_.erase(it);
  }
  return true;
}

bool NodeExports::on_cut_sent(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  const auto old_owner = reader.get<uint64_t>();
  const bool sent = reader.get<uint8_t>() != 0;
  if (!reader.at_end()) return false;
  const auto it = exports_.find(number);
  if (it == exports_.end() || it->second.holder.incarnation != old_owner) return true;
  Export& e = it->second;
  if (e.asked.erase(from.incarnation) == 0) return true;
  if (sent) e.streams.insert(from.incarnation);
  freeze_if_cut(number, e);
  return true;
}

void NodeExports::sync_to(Peer& peer) {
  for (const auto& [number, e] : exports_) {
    if (!e.granted || core_.home_of(e.id) != peer.id.slot) continue;
    bus::Writer(core_.scratch).put<uint64_t>(e.epoch).put<uint64_t>(number).text(e.id);
    core_.peers->send(peer, bus::FrameType::holding, 0, core_.scratch);
  }
}

void NodeExports::on_peer_linked(Peer& peer) {
  for (auto& [number, e] : exports_) {
    if (!e.granted) {
      if (core_.home_of(e.id) != peer.id.slot) continue;
      core_.gateway->directory().tell_stale(peer.id, e.id, 0);  // it may have come from a store
      claim(number, e);
    } else if (e.holder.slot == peer.id.slot && !e.pulling && !e.done) {
      e.holder = peer.id;
      pull(number, e);
    }
  }
}

void NodeExports::on_peer_gone(const WorkerId& worker) {
  for (auto& [number, e] : exports_) {
    if (e.granted && !e.done && e.holder == worker) {
      restart(e);
    } else if (e.asked.erase(worker.incarnation) != 0) {
      freeze_if_cut(number, e);
    }
  }
}

}  // namespace broker
