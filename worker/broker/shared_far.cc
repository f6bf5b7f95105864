// SharedDispatch and the other hosts: what this worker and its gateway say to each other of QoS 2 messages. The essay
// is in share_sender.h.
#include <utility>

#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/shared_dispatch.h"

namespace broker {

// --- the publisher's worker ---

void SharedDispatch::ask_where(Peer& gateway, Placement p) {
  const uint64_t token = next_token_++;
  bus::Writer(core_.scratch)
      .put<uint64_t>(token)
      .text(p.group->name)
      .text(p.group->filter)
      .text(p.message->publisher());
  core_.peers->send(gateway, bus::FrameType::shared_where, bus::kAckSoon, core_.scratch);
  outstanding_[token] = {std::move(p), gateway.id};
}

bool SharedDispatch::on_there(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const std::string_view node = reader.text();
  if (!reader.at_end()) return false;
  const auto it = outstanding_.find(token);
  if (it == outstanding_.end() || it->second.peer != from.id) return true;
  Placement p = std::move(it->second.placement);
  outstanding_.erase(it);
  if (node.empty()) {
    refused(std::move(p), true);
    return true;
  }
  p.node = node;
  if (p.record == 0) {
    send(from, std::move(p));
  } else {
    write_pin(p);
    send_pinned(std::move(p), from.id.slot);
  }
  return true;
}

// --- the member's worker ---

void SharedDispatch::send_result(const WorkerId& to, uint64_t token, SharedResult result) {
  Peer* peer = core_.peers->find(to);
  if (peer == nullptr) return;
  bus::Writer(core_.scratch).put<uint64_t>(token).put<uint8_t>(static_cast<uint8_t>(result));
  core_.peers->send(*peer, bus::FrameType::shared_result, 0, core_.scratch);
}

// The asker, if it is a gateway, is the one that says go from now on.
SharedResult SharedDispatch::how_given(const WorkerId& asker, const Given& key) {
  const auto reserved = reserved_.find(key);
  if (reserved == reserved_.end()) return SharedResult::accepted;
  reserved->second.gateway = asker;
  return SharedResult::reserved;
}

void SharedDispatch::reserve(const WorkerId& gateway, Placement p, router::SubscriberId member) {
  const Given key = key_of(p);
  remember(p.message->once(), *p.group);
  p.promised = true;
  reserved_[key] = {std::move(p), member, gateway};
}

bool SharedDispatch::on_known(Peer& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const auto incarnation = reader.get<uint64_t>();
  const auto sequence = reader.get<uint64_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  if (!reader.at_end()) return false;
  const Given key = key_of({incarnation, sequence}, name, filter);
  if (!given_.contains(key) && !has_mark({incarnation, sequence}, name, filter)) {
    send_result(from.id, token, SharedResult::refused);
    return true;
  }
  core_.tickets->begin([this, to = from.id, token, how = how_given(from.id, key)] { send_result(to, token, how); });
  core_.journal->wait(core_.tickets->wait_here());
  core_.tickets->end();
  return true;
}

bool SharedDispatch::on_go(std::string_view body) {
  bus::Reader reader(body);
  const auto incarnation = reader.get<uint64_t>();
  const auto sequence = reader.get<uint64_t>();
  const std::string_view name = reader.text();
  const std::string_view filter = reader.text();
  if (!reader.at_end()) return false;
  const auto node = reserved_.extract(key_of({incarnation, sequence}, name, filter));
  if (!node.empty()) give_or_place(node.mapped().placement, node.mapped().member);
  return true;
}

void SharedDispatch::on_gateway_recovered(const WorkerId& gateway) {
  for (auto& [key, reserved] : std::exchange(reserved_, {})) {
    if (reserved.gateway == gateway) {
      reserved_[key] = std::move(reserved);
    } else {
      give_or_place(reserved.placement, reserved.member);
    }
  }
}

}  // namespace broker
