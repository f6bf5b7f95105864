#include "worker/broker/node_imports.h"

#include <algorithm>
#include <utility>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/delivery_codec.h"
#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"
#include "worker/broker/state_transfer.h"

namespace broker {

using cluster::Status;

NodeImports::Imports::iterator NodeImports::find(const WorkerId& worker, uint64_t claim) {
  for (auto it = imports_.begin(); it != imports_.end(); ++it) {
    if (it->second.worker == worker && it->second.claim == claim) return it;
  }
  return imports_.end();
}

void NodeImports::send(const Import& import, bus::FrameType type, std::string_view body) {
  if (Peer* peer = core_.peers->find(import.worker)) core_.peers->send(*peer, type, bus::kAckSoon, body);
}

void NodeImports::tell_nothing(const Import& import) {
  std::string body;
  bus::Writer(body).put<uint64_t>(import.claim).put<uint8_t>(0);
  send(import, bus::FrameType::state_begin, body);
}

// It may be on a host of which Redis, which has lost it, has not heard again.
void NodeImports::tell_not_found(const Import& import) {
  if (import.clean || !core_.gateway->unsure()) return tell_nothing(import);
  refuse(import);
}

void NodeImports::refuse(const Import& import) {
  std::string body;
  bus::Writer(body).put<uint64_t>(import.claim);
  send(import, bus::FrameType::claim_refused, body);
}

void NodeImports::tell_to_reclaim(const Import& import) {
  std::string body;
  bus::Writer(body).put<uint64_t>(import.claim);
  send(import, bus::FrameType::reclaim, body);
}

void NodeImports::abort(const std::string& node, uint64_t token) {
  std::string body;
  bus::Writer(body).put<uint64_t>(token);
  core_.gateway->node(node).stream.append(NodeFrame::abort, body);
}

// It was given up, and Redis has lost the word of that.
void NodeImports::abort_unknown(const std::string& node, uint64_t token) {
  const auto is_it = [&](const auto& item) { return item.second.node == node && item.second.token == token; };
  if (std::ranges::none_of(arrived_, is_it)) abort(node, token);
}

void NodeImports::on_settled(const std::string& id, bool ours) {
  const auto it = arrived_.find(id);
  if (it == arrived_.end()) return;
  if (!ours) abort(it->second.node, it->second.token);
  arrived_.erase(it);
}

// --- workers here ---

bool NodeImports::on_pull(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  Import import;
  import.worker = from;
  import.claim = reader.get<uint64_t>();
  import.before = import.epoch = reader.get<uint64_t>();
  import.clean = reader.get<uint8_t>() != 0;
  import.id = reader.text();
  if (!reader.at_end()) return false;
  const uint64_t token = next_token_++;
  import.node = core_.gateway->directory().claimed_from(import.id);
  Import& stored = imports_[token] = std::move(import);
  if (!stored.node.empty()) {
    pull(token, stored);
  } else if (core_.gateway->joined()) {
    reclaim(token);
  }
  return true;
}

bool NodeImports::on_abort(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = find(from, claim);
  if (it == imports_.end() || it->second.begun) return true;
  const Import& import = it->second;
  if (!import.node.empty()) abort(import.node, it->first);
  tell_nothing(import);
  imports_.erase(it);
  return true;
}

// Our predecessor knew where it is. Who claimed it before us may not have it yet, so the holder is not the one to ask.
void NodeImports::reclaim(uint64_t token) {
  const auto it = imports_.find(token);
  tell_to_reclaim(it->second);
  imports_.erase(it);
}

// A node whose lease has run out is asked all the same: it may be back in time. Else its adopter is, see
// on_node_gone().
void NodeImports::pull(uint64_t token, Import& import) {
  std::string body;
  bus::Writer(body).put<uint64_t>(token).put<uint64_t>(import.epoch).put<uint8_t>(import.clean).text(import.id);
  core_.gateway->node(import.node).stream.append(NodeFrame::pull, body);
}

void NodeImports::begin_anew(Import& import) {
  if (import.begun) {
    std::string body;
    bus::Writer(body).put<uint64_t>(import.claim);
    send(import, bus::FrameType::restart, body);
  }
  import.begun = false;
  new_round(import);
}

// What the worker has said, or is about to say, it has said of the round before: it begins another with a cut_request.
void NodeImports::new_round(Import& import) {
  import.frozen = import.freeze = import.cut_requested = false;
  import.cuts.clear();
  import.asked.clear();
}

// Whom it was to be pulled from had claimed it before us, but may have given up since: then it is with, or on its way
// to, who had claimed it before that.
void NodeImports::look_again(uint64_t token) {
  Import& import = imports_.at(token);
  if (!core_.gateway->joined()) return import.node.clear();  // on_joined()
  core_.env.hub->before(import.id, import.before,
                        [this, token, asked = import.node](Status status, const cluster::Claimed& before) {
                          const auto it = imports_.find(token);
                          if (it == imports_.end() || it->second.node != asked) return;
                          if (status == Status::lost) return it->second.node.clear();
                          look_at(it, status == Status::ok ? before : cluster::Claimed{});
                        });
}

void NodeImports::look_at(Imports::iterator it, const cluster::Claimed& before) {
  Import& import = it->second;
  if (before.previous == import.node && before.epoch != 0) {  // Redis has not heard that it has given up
    import.before = before.epoch;
    look_again(it->first);
  } else if (before.previous == core_.gateway->key()) {
    // It has come here meanwhile, to another worker: the home tells which.
    tell_to_reclaim(import);
    imports_.erase(it);
  } else if (before.previous.empty() || before.previous == import.node) {
    tell_not_found(import);
    imports_.erase(it);
  } else {
    import.node = before.previous;
    pull(it->first, import);
  }
}

bool NodeImports::on_cut(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto owner = reader.get<uint64_t>();
  const auto claim = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  for (auto& [token, import] : imports_) {
    if (import.worker.incarnation != owner || import.claim != claim || import.node.empty()) continue;
    std::string cut;
    bus::Writer(cut).put<uint64_t>(core_.self.incarnation).put<uint64_t>(token).put<uint64_t>(from.incarnation);
    core_.gateway->append_behind(core_.gateway->node(import.node), NodeFrame::cut, cut);
    import.cuts.emplace(from.incarnation, std::string());
    freeze_if_cut(token, import);
    break;
  }
  return true;
}

// The routes of the worker have gone before it, into every stream.
bool NodeImports::on_cut_request(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  reader.get<uint32_t>();
  const auto old_owner = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  const auto it = find(from, claim);
  if (it != imports_.end() && !it->second.node.empty()) {
    Import& import = it->second;
    import.cut_requested = true;
    import.freeze = import.frozen = false;
    import.asked.clear();
    std::string request;
    bus::Writer(request).put<uint64_t>(it->first).text(import.node);
    core_.gateway->for_each([&](RemoteNode& node) {
      if (node.gateway == 0 || Gateway::is_lost(node)) return;
      node.stream.append(NodeFrame::cut_request, request);
      if (node.key != import.node) import.asked.insert(node.key);
    });
  }
  std::string answer;
  bus::Writer(answer).put<uint64_t>(claim).put<uint64_t>(old_owner).put<uint8_t>(0);
  if (Peer* peer = core_.peers->find(from)) core_.peers->send(*peer, bus::FrameType::cut_sent, bus::kAckSoon, answer);
  return true;
}

bool NodeImports::on_freeze(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto claim = reader.get<uint64_t>();
  std::set<uint64_t> wanted;
  for (auto n = reader.get<uint16_t>(); n > 0 && reader.ok(); --n) wanted.insert(reader.get<uint64_t>());
  if (!reader.at_end()) return false;
  const auto it = find(from, claim);
  if (it == imports_.end()) return true;
  it->second.freeze = true;
  it->second.wanted = std::move(wanted);
  freeze_if_cut(it->first, it->second);
  return true;
}

void NodeImports::freeze_if_cut(uint64_t token, Import& import) {
  if (!import.freeze || import.frozen || !import.cut_requested || !import.asked.empty() || import.node.empty()) return;
  for (const uint64_t worker : import.wanted) {
    if (!import.cuts.contains(worker) && core_.peers->may_say_more(worker)) return;
  }
  import.frozen = true;
  std::string body;
  bus::Writer writer(body);
  writer.put<uint64_t>(token).put<uint32_t>(static_cast<uint32_t>(import.cuts.size()));
  for (const auto& [cut, node] : import.cuts) writer.put<uint64_t>(cut);
  core_.gateway->node(import.node).stream.append(NodeFrame::freeze, body);
}

// Its successor does not know that it was asked, and what it had promised to send may not have left: but what it sends
// it sends knowing our routes. What its predecessor has sent is in the old owner's inbox before our freeze.
void NodeImports::forget_cut(uint64_t token, Import& import, const std::string& node) {
  const bool asked = import.asked.erase(node) != 0;
  const bool cut = std::erase_if(import.cuts, [&](const auto& c) { return c.second == node; }) != 0;
  if (cut) import.frozen = false;
  if (asked || cut) freeze_if_cut(token, import);
}

// If it has stored the session its replacement tells so. If not the old owner is to go on.
void NodeImports::on_worker_synced(uint32_t slot) {
  for (auto& [id, arrived] : arrived_) {
    if (arrived.worker.slot == slot && arrived.gone) {
      arrived.abort_at = core_.now() + static_cast<base::MonoMs>(core_.config.redis.lease * 1000);
    }
  }
}

void NodeImports::on_worker_gone(const WorkerId& worker) {
  for (auto& [id, arrived] : arrived_) {
    if (arrived.worker == worker) arrived.gone = true;
  }
  for (auto it = imports_.begin(); it != imports_.end();) {
    Import& import = it->second;
    if (import.worker != worker) {
      freeze_if_cut(it->first, import);
      ++it;
      continue;
    }
    if (!import.node.empty()) abort(import.node, it->first);
    it = imports_.erase(it);
  }
}

// --- nodes ---

// state_begin: u64 token, u8 found, head. state_delivery: u64 token, kind, packet id, head, [message].
// state_end: u64 token, rest. restart: u64 token.
bool NodeImports::on_state(RemoteNode& from, NodeFrame type, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  if (!reader.ok()) return false;
  const auto it = imports_.find(token);
  if (it == imports_.end() && type == NodeFrame::state_begin) abort_unknown(from.key, token);
  if (it == imports_.end() || it->second.node != from.key) return true;
  Import& import = it->second;
  const std::string_view rest = body.substr(sizeof(uint64_t));
  std::string& out = core_.scratch;
  bus::Writer writer(out);
  writer.put<uint64_t>(import.claim);
  switch (type) {
    case NodeFrame::restart:
      begin_anew(import);
      return true;
    case NodeFrame::state_begin:
      if (rest.empty()) return false;
      if (rest.front() == kClaimAnew) {
        tell_to_reclaim(import);
        imports_.erase(it);
        return true;
      }
      if (rest.front() == 0) {
        // Not there: it may have moved on before our question came.
        look_again(token);
        return true;
      }
      new_round(import);
      import.begun = true;
      out.append(rest);
      send(import, bus::FrameType::state_begin, out);
      return true;
    case NodeFrame::state_delivery: {
      Peer* peer = core_.peers->find(import.worker);
      return peer == nullptr || pass_delivery_to(core_, *peer, import.claim, rest, core_.gateway->expiry_shift());
    }
    case NodeFrame::state_end:
      out.append(rest);
      send(import, bus::FrameType::state_end, out);
      core_.page.add(metrics::Counter::cluster_takeovers);
      arrived_[import.id] = {import.node, token, import.worker};
      imports_.erase(it);
      return true;
    default:
      return false;
  }
}

bool NodeImports::on_cut_sent(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const auto gateway = reader.get<uint64_t>();
  const bool sent = reader.get<uint8_t>() != 0;
  if (!reader.at_end()) return false;
  const auto it = imports_.find(token);
  if (it == imports_.end() || it->second.asked.erase(from.key) == 0) return true;
  if (sent) it->second.cuts.emplace(gateway, from.key);
  freeze_if_cut(token, it->second);
  return true;
}

void NodeImports::on_gateway_changed(RemoteNode& node) {
  for (auto& [token, import] : imports_) {
    if (import.node == node.key) {
      begin_anew(import);
      pull(token, import);
    } else {
      forget_cut(token, import, node.key);
    }
  }
}

void NodeImports::on_node_gone(const std::string& key) {
  std::erase_if(arrived_, [&](const auto& item) { return item.second.node == key; });
  std::vector<uint64_t> again;
  for (auto& [token, import] : imports_) {
    if (import.node == key) {
      again.push_back(token);
    } else {
      forget_cut(token, import, key);
    }
  }
  for (const uint64_t token : again) {
    Import& import = imports_.at(token);
    begin_anew(import);
    import.node.clear();
    look_again(token);
  }
}

void NodeImports::run() {
  if (!core_.gateway->joined()) return;
  std::vector<std::string> unclaimed;
  for (const auto& [id, arrived] : arrived_) {
    if (arrived.abort_at != 0 && core_.now() >= arrived.abort_at) unclaimed.push_back(id);
  }
  for (const std::string& id : unclaimed) on_settled(id, false);
  for (auto it = imports_.begin(); it != imports_.end();) {
    Import& import = it->second;
    const RemoteNode* node = import.node.empty() ? nullptr : core_.gateway->find(import.node);
    if (node == nullptr || node->gateway == 0 || !Gateway::is_lost(*node)) {
      ++it;
      continue;
    }
    begin_anew(import);
    if (import.clean) {
      tell_nothing(import);
    } else {
      refuse(import);
    }
    abort(import.node, it->first);
    it = imports_.erase(it);
  }
}

void NodeImports::on_joined() {
  std::vector<uint64_t> unknown;
  for (auto& [old, import] : std::exchange(imports_, {})) {
    const uint64_t token = next_token_++;
    Import& again = imports_[token] = std::move(import);
    if (again.node.empty()) {
      unknown.push_back(token);
      continue;
    }
    abort(again.node, old);
    begin_anew(again);
    pull(token, again);
  }
  for (const uint64_t token : unknown) reclaim(token);
}

}  // namespace broker
